// Runs every file of examples/ and every ```ts block marked `run` in the packages' READMEs, from their sources.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const scratch = join(root, ".cache", "examples");
rmSync(scratch, { recursive: true, force: true });
mkdirSync(scratch, { recursive: true });

const programs = readdirSync(join(root, "examples"))
  .filter((f) => f.endsWith(".ts"))
  .sort()
  .map((f) => ({ name: `examples/${f}`, file: join(root, "examples", f) }));
for (const group of ["packages", "apps"]) {
  for (const name of readdirSync(join(root, group))) {
    const readme = readFileSync(join(root, group, name, "README.md"), "utf8");
    [...readme.matchAll(/```ts run\n([\s\S]*?)```/g)].forEach(([, code], i) => {
      const file = join(scratch, `${name}-${i + 1}.ts`);
      writeFileSync(file, code!);
      programs.push({ name: `${group}/${name}/README.md #${i + 1}`, file });
    });
  }
}

let failed = 0;
for (const { name, file } of programs) {
  const start = performance.now();
  const run = spawnSync(process.execPath, ["--import", "tsx", "--conditions=@lfm/source", file], {
    cwd: scratch,
    encoding: "utf8",
    timeout: 300_000,
  });
  const ok = run.status === 0;
  if (!ok) failed++;
  console.log(`${ok ? "ok     " : "FAILED "} ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  if (!ok) console.error(run.stdout + run.stderr);
}
console.log(`examples: ${programs.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 && programs.length > 0 ? 0 : 1;
