/** Edits models by ROME and MEMIT and writes the patches as PEFT's LoRA, with the logits of the edited models: rewrite-edits.ts OUT MODEL… For check_edits.py. */
import { basename, join } from "node:path";
import { createEngine, needs, padRows, Rng, runMethod } from "@lfm/core";
import { memit, rome } from "@lfm/editing";
import { writeSafetensors } from "@lfm/formats";
import { createPredictor, loadModel } from "@lfm/models";
import { tokenCorpus } from "@lfm/statistics";
import { toPeft } from "@lfm/tuning";
import { editAsLora } from "../../apps/cli/src/outputs/edit-as-lora.js";

const [out, ...folders] = process.argv.slice(2);
if (!out || folders.length === 0) throw new Error("usage: rewrite-edits.ts OUT MODEL…");
const engine = await createEngine("ort");
const request = { prompt: [5, 11, 23, 7, 40], subjectEnd: 2, target: [61, 12], start: 1 };
const rng = new Rng(7);
const corpus = tokenCorpus("drawn", padRows(Array.from({ length: 24 }, () => Array.from({ length: 10 }, () => 1 + rng.int(90)))));
const asked = [
  [...request.prompt, ...request.target],
  [9, 9, 3, 11, 23, 7, 40, 2, 8],
];
for (const folder of folders) {
  const { model } = await loadModel(folder);
  const context = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
  const inputs = { model, requests: [request, { ...request, prompt: [5, 30, 31, 7], target: [4] }], corpus };
  const edits = {
    rome: await runMethod(rome, inputs, { layer: 0, steps: 6 }, context),
    memit: await runMethod(memit, inputs, { layers: [0, 1], steps: 6, lambda: 10 }, context),
  };
  for (const [method, { delta, model: edited }] of Object.entries(edits)) {
    const lora = editAsLora(delta);
    if (!lora) throw new Error(`${method} writes no change of low rank`);
    const target = join(out, `${basename(folder)}-${method}`);
    await toPeft(target, lora, model);
    const predictor = await createPredictor(engine, edited, "logits");
    const logits = await predictor.predict(asked);
    await predictor.dispose();
    const tensors = asked.map((tokens, i) => [
      [`tokens.${i}`, { dtype: "i32", shape: [1, tokens.length], data: Int32Array.from(tokens) }] as const,
      [`logits.${i}`, logits[i]!] as const,
    ]);
    await writeSafetensors(join(target, "edited.safetensors"), Object.fromEntries(tensors.flat()));
  }
}
process.exit();
