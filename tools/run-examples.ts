// Type-checks every ```ts block of the READMEs and every file of examples/, and runs those files and the blocks marked `run`, from their sources.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readmeBlocks } from "./readme-blocks.js";

const root = join(import.meta.dirname, "..");
const scratch = join(root, ".cache", "examples");
rmSync(scratch, { recursive: true, force: true });
mkdirSync(scratch, { recursive: true });

let [passed, failed] = [0, 0];
function check(name: string, args: readonly string[]): void {
  const start = performance.now();
  const run = spawnSync(process.execPath, args, { cwd: scratch, encoding: "utf8", timeout: 300_000 });
  const ok = run.status === 0;
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? "ok     " : "FAILED "} ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  if (!ok) console.error(run.stdout + run.stderr);
}

const blocks = readmeBlocks(root);
for (const { file, code } of blocks) writeFileSync(join(scratch, file), code);
const tsconfig = {
  extends: join(root, "tsconfig.base.json"),
  compilerOptions: { noEmit: true, types: ["node"] },
  include: ["*.ts", join(root, "examples/*.ts")],
};
writeFileSync(join(scratch, "tsconfig.json"), JSON.stringify(tsconfig));
check(`types of ${blocks.length} blocks and of examples/`, [join(root, "node_modules/typescript/bin/tsc"), "-p", "."]);

const programs = readdirSync(join(root, "examples"))
  .filter((f) => f.endsWith(".ts"))
  .sort()
  .map((f) => ({ name: `examples/${f}`, file: join(root, "examples", f) }));
for (const { name, file } of [...programs, ...blocks.filter((b) => b.runs)])
  check(name, ["--import", "tsx", "--conditions=@lfm/source", file]);
console.log(`examples: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 1 ? 0 : 1;
