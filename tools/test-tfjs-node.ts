// The op table and a training step on real tfjs-node (`npm run test:tfjs-node`). The package is built once, outside the repository.
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ortEngine, referenceEngine, tfjsEngine } from "../packages/core/src/index.js";
import { opTable } from "../packages/core/src/ops/table.js";
import { deviation, isDifferentiable, opSamples, runSample } from "../packages/core/src/testing/index.js";
import { trainingStep } from "../packages/core/test/training-step.js";

const UNREACHABLE = 75;
const folder = join(process.env.XDG_CACHE_HOME ?? tmpdir(), "lfm-tfjs-node-4.22.0");
const ready = join(folder, "ready");

if (build()) process.exitCode = await check();

/** True when tfjs-node is there. PyPI out of reach is the one reason to skip. */
function build(): boolean {
  if (existsSync(ready)) return true;
  console.log(`building tfjs-node in ${folder}`);
  const { status } = spawnSync("bash", [join(import.meta.dirname, "build-tfjs-node.sh"), folder], { stdio: "inherit" });
  if (status === UNREACHABLE) {
    console.log("SKIPPED: tfjs-node was not tested, because PyPI, where libtensorflow comes from, cannot be reached");
    return false;
  }
  if (status !== 0) throw new Error(`tools/build-tfjs-node.sh failed with ${status}`);
  writeFileSync(ready, "");
  return true;
}

async function check(): Promise<number> {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  const tf = createRequire(join(folder, "package.json"))("@tensorflow/tfjs-node") as { memory(): { numTensors: number } };
  const engine = await tfjsEngine({ module: tf });
  console.log(engine.description);
  const failures: string[] = [];
  const before = tf.memory().numTensors;

  const ops = Object.values(opTable).flat();
  let results = 0;
  for (const op of ops) {
    const bound = op.tolerance?.tfjs?.relative ?? 1e-5;
    for (const sample of opSamples[op.name]!) {
      const expected = await runSample(referenceEngine(), sample, isDifferentiable(op));
      const got = await runSample(engine, sample, isDifferentiable(op)).catch((error: unknown) => {
        failures.push(`${op.name}: ${String(error)}`);
        return [];
      });
      for (const [i, t] of got.entries()) {
        const error = deviation(t.data as Float32Array, expected[i]!.data as Float32Array);
        if (!(error < bound)) failures.push(`${op.name}, result ${i}: ${error.toExponential(2)} from the reference, at most ${bound}`);
        results++;
      }
    }
  }
  console.log(`op table: ${ops.length} ops, ${results} results with their first and second derivatives`);

  const step = await trainingStep(engine);
  const other = await trainingStep(await ortEngine({ threads: 1 }));
  const started = performance.now();
  const losses = await step.run(20);
  const msPerStep = (performance.now() - started) / 20;
  const error = deviation(losses, await other.run(20));
  console.log(`training: 20 steps, ${error.toExponential(1)} from ONNX Runtime, ${msPerStep.toFixed(2)} ms a step`);
  if (!(error < 1e-4)) failures.push(`training step: ${error} from ONNX Runtime, at most 1e-4`);
  await Promise.all([step.dispose(), other.dispose()]);

  const left = tf.memory().numTensors - before;
  if (left !== 0) failures.push(`${left} tensors were not given back`);
  for (const f of failures) console.error(`FAILED ${f}`);
  console.log(failures.length === 0 ? "tfjs-node: all as the reference" : `tfjs-node: ${failures.length} failures`);
  return failures.length === 0 ? 0 : 1;
}
