// A package imports only from layers below (ARCHITECTURE.md). The layer stands in each package.json as the nx tag `layer:N`.
// Checked are the declared dependencies and every import in src/; that imports are declared is knip's part.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly nx?: { readonly tags?: readonly string[] };
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

interface Member {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly layer: number;
}

const root = join(import.meta.dirname, "..");
const members: Member[] = ["packages", "apps"].flatMap((group) =>
  readdirSync(join(root, group)).map((name) => {
    const folder = join(root, group, name);
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
    const tag = manifest.nx?.tags?.find((t) => t.startsWith("layer:"));
    if (!tag) throw new Error(`${folder}: no nx tag layer:N`);
    return { folder, manifest, layer: Number(tag.slice("layer:".length)) };
  }),
);
const byName = new Map(members.map((m) => [m.manifest.name, m]));
const problems: string[] = [];

for (const member of members) {
  const { manifest } = member;
  for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies })) {
    const target = byName.get(name);
    if (!target) continue;
    requireBelow(member, target, "depends on");
    if (range !== `^${target.manifest.version}`)
      problems.push(`${manifest.name} asks for ${name} ${range}, the workspace has ${target.manifest.version}`);
  }
  for (const file of sources(join(member.folder, "src"))) {
    for (const [, name] of readFileSync(file, "utf8").matchAll(/(?:from|import)\s*\(?\s*"(@lfm\/[a-z]+)/g)) {
      const target = byName.get(name!);
      if (target && target !== member) requireBelow(member, target, `${file.slice(root.length + 1)} imports`);
    }
  }
}

/** Apps compose: the command line may use the benchmark, which is of its own layer. */
function requireBelow(from: Member, to: Member, how: string): void {
  const composes = from.manifest.name === "lfm" && to.manifest.name === "@lfm/bench";
  if (to.layer >= from.layer && !composes) {
    problems.push(`${from.manifest.name} (layer ${from.layer}): ${how} ${to.manifest.name} (layer ${to.layer})`);
  }
}

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile() && e.name.endsWith(".ts"))
    .map((e) => join(e.parentPath, e.name));
}

for (const p of problems) console.error(p);
console.log(problems.length === 0 ? `layers: ${members.length} packages in order` : `layers: ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
