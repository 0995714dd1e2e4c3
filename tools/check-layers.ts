// A package imports only from layers below (ARCHITECTURE.md). The layer stands in each package.json as the nx tag `layer:N`.
// Checked are the declared dependencies and every import in src/; that imports are declared is knip's part. Files of one package must not
// import each other in circles either: imports of types count, for two files that need each other's types are one concept in two places,
// and so do late ones (`await import`), which hide a circle from the loader but not from a reader.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

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

/**
 * Derivatives of operations are operations: the families of ops differentiate through one another. Each refers to the others in functions that
 * run when all are loaded.
 */
const MUTUAL = join(root, "packages/core/src/ops");

for (const member of members) {
  const files = sources(join(member.folder, "src")).filter((f) => !f.endsWith(".test.ts"));
  const imports = new Map(files.map((file) => [file, ownImports(file, files)]));
  for (const circle of circles(imports)) {
    if (circle.every((f) => dirname(f) === MUTUAL)) continue;
    problems.push(
      `${member.manifest.name}: files import each other in a circle: ${circle.map((f) => f.slice(root.length + 1)).join(", ")}`,
    );
  }
}

/** Files of the same package that a file imports. */
function ownImports(file: string, files: readonly string[]): readonly string[] {
  const text = readFileSync(file, "utf8").replaceAll(/^\s*(\/\/|\*).*$/gm, "");
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)\.js"/g)].map(([, path]) => join(dirname(file), `${path}.ts`));
  return found.filter((f) => files.includes(f));
}

/** Groups of files of which each reaches each other one (Tarjan's strongly connected components), of two files or more. */
function circles(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const [order, path] = [new Map<string, number>(), [] as string[]];
  const visit = (file: string): number => {
    const own = order.size;
    order.set(file, own);
    path.push(file);
    let low = own;
    for (const next of imports.get(file)!) {
      if (!order.has(next)) low = Math.min(low, visit(next));
      else if (path.includes(next)) low = Math.min(low, order.get(next)!);
    }
    if (low === own) {
      const group = path.splice(path.indexOf(file));
      if (group.length > 1) found.push(group.sort());
    }
    return low;
  };
  for (const file of imports.keys()) if (!order.has(file)) visit(file);
  return found;
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
console.log(problems.length === 0 ? `layers: ${members.length} packages in order, no circles` : `layers: ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
