/** Writes every adapter of the fixtures of layer_tuning.py again, as what lfm makes of it: rewrite-layer-tuning.ts OUT. For check_layer_tuning.py. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readWeights } from "@lfm/formats";
import { modelFromConfig } from "@lfm/models";
import { fromPeft, toPeft } from "@lfm/tuning";

const packages = join(import.meta.dirname, "../../packages");
const golden = join(packages, "tuning/test/golden/peft");
const json = (path: string): Record<string, unknown> => JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
const [out] = process.argv.slice(2);
for (const name of readdirSync(golden)) {
  if (!existsSync(join(golden, name, "end"))) continue;
  const folder = join(packages, "models/test/golden", String(json(join(golden, name, "golden.json")).base));
  const model = modelFromConfig(json(join(folder, "config.json")), readWeights(join(folder, "model.safetensors")).weights);
  mkdirSync(join(out!, name), { recursive: true });
  await toPeft(join(out!, name), fromPeft(join(golden, name, "end"), model), model);
}
