// `npm run check:install`, after a build: packs every package and installs it as a user does, from a registry of these tarballs: by npm and by pnpm into fresh
// folders, and globally, install scripts off; type-checks the READMEs' examples against what was installed, runs those marked `run`, and runs `lfm bench` from
// the global install on every Node that users have.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Packed, serveRegistry } from "./local-registry.js";
import { readmeBlocks } from "./readme-blocks.js";

const root = join(import.meta.dirname, "..");
const work = mkdtempSync(join(tmpdir(), "lfm-install-"));
/** Node's lines in use beside the one that runs this: an npm package brings the binary with scripts off. */
const NODES = ["22", "24"];
const LIMIT_MS = 600_000;
/** Cells of a few seconds that touch an engine, the zoo and an index. */
const SUITE = `name: install
summary: One cell of each of two paradigms.
seeds: [1]
cells:
  - { paradigm: retrieval, scenario: zoo-documents, method: bm25, config: { analyzer: words } }
  - { paradigm: distillation, scenario: glyphs, method: logit-kd, config: { steps: 20, lr: 0.003 } }
`;

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Not by spawnSync: the registry answers from this process. */
function run(command: string, args: readonly string[], cwd: string): Promise<Ran> {
  const child = spawn(command, args, { cwd, env: { ...process.env, NODE_OPTIONS: "" }, timeout: LIMIT_MS });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: null, out, err: `${err}${error.message}` }));
    child.once("close", (code) => resolve({ code, out, err }));
  });
}

let [passed, failed] = [0, 0];
async function check(name: string, command: string, args: readonly string[], cwd: string): Promise<boolean> {
  const started = performance.now();
  const { code, out, err } = await run(command, args, cwd);
  if (code === 0) passed++;
  else failed++;
  console.log(`${code === 0 ? "ok     " : "FAILED "} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  if (code !== 0) console.error(`${out}${err}`.slice(-4000));
  return code === 0;
}

async function pack(): Promise<readonly Packed[]> {
  const folder = join(work, "tarballs");
  mkdirSync(folder);
  const packed: Packed[] = [];
  for (const group of ["packages", "apps"])
    for (const member of readdirSync(join(root, group))) {
      const place = join(root, group, member);
      const { code, out, err } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], place);
      if (code !== 0) throw new Error(`npm pack of ${group}/${member}: ${err}`);
      const [made] = JSON.parse(out) as readonly { readonly name: string; readonly filename: string }[];
      const manifest = JSON.parse(readFileSync(join(place, "package.json"), "utf8")) as Packed["manifest"];
      packed.push({ name: made!.name, file: join(folder, made!.filename), manifest });
    }
  return packed;
}

/** A fresh folder that takes our packages from the registry of the tarballs, and all others from the usual one. */
function project(name: string, registry: string): string {
  const folder = join(work, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name, private: true, type: "module" }));
  writeFileSync(join(folder, ".npmrc"), `@lfm:registry=${registry}\n`);
  return folder;
}

async function checkExamples(folder: string): Promise<void> {
  const compilerOptions = { module: "nodenext", target: "es2023", strict: true, noEmit: true, skipLibCheck: true, types: ["node"] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
  const blocks = readmeBlocks(root);
  for (const { file, code } of blocks) writeFileSync(join(folder, file), code);
  await check(`types of ${blocks.length} examples`, process.execPath, ["node_modules/typescript/bin/tsc", "-p", "."], folder);
  for (const { name, file } of blocks.filter((b) => b.runs)) await check(name, process.execPath, ["--import", "tsx", file], folder);
}

/** A Node of this line out of npm; undefined where npm has none for this machine. */
async function fetchNode(line: string): Promise<{ readonly name: string; readonly node: string | undefined }> {
  const name = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
  const folder = join(work, `node-${line}`);
  mkdirSync(folder);
  const { code } = await run(
    "npm",
    ["install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", `${name}@${line}`],
    folder,
  );
  const node = join(folder, "node_modules", name, "bin/node");
  return { name: line, node: code === 0 && existsSync(node) ? node : undefined };
}

async function checkGlobally(cli: Packed, registry: string): Promise<void> {
  const prefix = join(work, "global");
  const scoped = ["--ignore-scripts", "--no-audit", "--no-fund", `--@lfm:registry=${registry}`];
  if (!(await check("npm install --global", "npm", ["install", "--global", "--prefix", prefix, ...scoped, cli.file], work))) return;
  const empty = join(work, "empty");
  mkdirSync(empty);
  writeFileSync(join(empty, "suite.yaml"), SUITE);
  await check("lfm from the global install", join(prefix, "bin/lfm"), ["--version"], empty);
  const lfm = join(prefix, "lib/node_modules/lfm/bin/lfm.js");
  const nodes = [{ name: process.versions.node, node: process.execPath }, ...(await Promise.all(NODES.map(fetchNode)))];
  for (const { name, node } of nodes) {
    const out = join(empty, name);
    if (node === undefined) {
      console.log(`skipped lfm bench on Node ${name}: npm has no binary for ${process.platform} ${process.arch}`);
    } else if (await check(`lfm bench on Node ${name}`, node, [lfm, "bench", "--suite", "suite.yaml", "--out", out], empty)) {
      const { cells } = JSON.parse(readFileSync(join(out, "summary.json"), "utf8")) as {
        readonly cells: readonly { readonly status: string }[];
      };
      if (cells.length === 2 && cells.every((c) => c.status === "ok") && existsSync(join(out, "report.html"))) continue;
      failed++;
      console.log(`FAILED  lfm bench on Node ${name} gave no report of two cells`);
    }
  }
}

const packed = await pack();
const { url, close } = await serveRegistry(packed);
const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly devDependencies: Readonly<Record<string, string>>;
};
/** What the examples need that none of our packages brings: to be checked and run, and the client that one of them is. */
const tools = ["typescript", "tsx", "@types/node", "openai"].map((name) => `${name}@${devDependencies[name]!}`);
const ours = packed.filter((p) => p.name.startsWith("@lfm/")).map((p) => p.name);
const cli = packed.find((p) => p.name === "lfm")!;

const byNpm = project("npm", url);
if (await check("npm install", "npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", ...ours, ...tools], byNpm))
  await checkExamples(byNpm);
const byPnpm = project("pnpm", url);
if (await check("pnpm add", "npx", ["--yes", "pnpm@10", "add", "--ignore-scripts", cli.file], byPnpm))
  await check("pnpm: lfm doctor", process.execPath, ["node_modules/lfm/bin/lfm.js", "doctor", "--json"], byPnpm);
await checkGlobally(cli, url);

close();
rmSync(work, { recursive: true, force: true });
console.log(`install: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
