// The budget of complexity: lines per source file (ceiling 400; longer ones need a reason here) and committed bytes.
// `npm run size -- --lines` lists the lines of src/ without tests by package and by layer.
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const CEILING = 400;
/** Files over the ceiling, with the reason. */
const reasons: Readonly<Record<string, string>> = {};

const root = join(import.meta.dirname, "..");
const files = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0").filter(Boolean);
const problems: string[] = [];

const sources = files
  .filter((f) => /\.tsx?$/.test(f) && !/\.d\.ts$/.test(f))
  .map((f) => ({ file: f, lines: readFileSync(join(root, f), "utf8").split("\n").length - 1 }));
for (const { file, lines } of sources)
  if (lines > CEILING && !reasons[file]) problems.push(`${file}: ${lines} lines, more than ${CEILING}`);
for (const file of Object.keys(reasons))
  if (!sources.some((s) => s.file === file && s.lines > CEILING)) problems.push(`${file}: named in tools/size.ts without need`);

const bytes = (pattern: RegExp): { file: string; bytes: number }[] =>
  files.filter((f) => pattern.test(f)).map((f) => ({ file: f, bytes: statSync(join(root, f)).size }));
for (const { file, bytes: n } of bytes(/\/test\/(golden|fixtures)\//))
  if (n > 200 * 1024) problems.push(`${file}: ${n} bytes, fixtures have at most 200 KiB`);
const zoo = bytes(/^packages\/models\/zoo\//).reduce((n, f) => n + f.bytes, 0);
if (zoo > 10e6) problems.push(`the zoo has ${zoo} bytes, at most 10 MB`);

const product = sources.filter((s) => !s.file.includes(".test.") && /^(packages|apps)\/[^/]+\/src\//.test(s.file));
const sorted = product.map((s) => s.lines).sort((a, b) => a - b);
const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
console.log(
  `size: ${product.length} source files, ${sorted.reduce((a, b) => a + b, 0)} lines, median ${at(0.5)}, p90 ${at(0.9)}, longest ${at(1)}; zoo ${(zoo / 1e6).toFixed(2)} MB`,
);
if (process.argv.includes("--lines")) listLines();
for (const p of problems) console.error(p);
process.exitCode = problems.length === 0 ? 0 : 1;

/** The layer stands in each package.json as the nx tag `layer:N`. */
function listLines(): void {
  const members = [...new Set(product.map((s) => s.file.split("/").slice(0, 2).join("/")))].map((folder) => {
    const { nx } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) as {
      readonly nx: { readonly tags: readonly string[] };
    };
    const lines = product.filter((s) => s.file.startsWith(`${folder}/`)).reduce((n, s) => n + s.lines, 0);
    return { folder, layer: nx.tags.find((t) => t.startsWith("layer:"))!.slice("layer:".length), lines };
  });
  const layers = [...new Set(members.map((m) => m.layer))].sort();
  const row = (what: string, lines: number): string => `${what.padEnd(26)}${String(lines).padStart(7)}`;
  for (const layer of layers) {
    const own = members.filter((m) => m.layer === layer);
    const total = own.reduce((n, m) => n + m.lines, 0);
    console.log(row(`layer ${layer}`, total));
    for (const { folder, lines } of own) console.log(row(`  ${folder}`, lines));
  }
}
