import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { machine, writeResult } from "../record.js";
import { type Comparison, compareOutputs, inScratch, makeModels, mergeOurs, mergeTheirs, versions, writeConfig } from "./sides.js";

const both = (parameters: string): string =>
  `models:\n  - {model: ./model-1, parameters: {${parameters}}}\n  - {model: ./model-2, parameters: {${parameters.replace("0.6", "0.4")}}}\n`;
const based = (method: string, body: string): string => `merge_method: ${method}\nbase_model: ./base\n${body}`;

/** Every method whose result is determined, as a user would write it. */
const configs: Readonly<Record<string, string>> = {
  linear: `merge_method: linear\n${both("weight: 0.6")}`,
  "linear, gradient and filter": `merge_method: linear\n${both("weight: [{filter: self_attn, value: [0.1, 0.6, 1]}, {filter: attn, value: [0.1, 0.6, 1]}, {value: 0.6}]")}`,
  slerp: based("slerp", "models: [{model: ./base}, {model: ./model-1}]\nparameters: {t: [0, 0.5, 0.3, 1]}\n"),
  nuslerp: `merge_method: nuslerp\n${both("weight: 0.6")}`,
  "nuslerp, task vectors": based("nuslerp", both("weight: 0.6")),
  multislerp: `merge_method: multislerp\n${both("weight: 0.6")}`,
  karcher: "merge_method: karcher\nmodels: [{model: ./model-1}, {model: ./model-2}, {model: ./base}]\n",
  "passthrough, slices":
    "merge_method: passthrough\nslices:\n  - sources: [{model: ./model-1, layer_range: [0, 3]}]\n  - sources: [{model: ./model-2, layer_range: [1, 4]}]\n",
  model_stock: based("model_stock", "models: [{model: ./model-1}, {model: ./model-2}, {model: ./model-3}]\n"),
  nearswap: based("nearswap", "models: [{model: ./model-1}]\nparameters: {t: 0.001}\n"),
  sce: based("sce", "models: [{model: ./model-1}, {model: ./model-2}]\nparameters: {select_topk: 0.4}\n"),
  task_arithmetic: based("task_arithmetic", both("weight: 0.6")),
  ties: based("ties", both("weight: 0.6, density: 0.5")),
  breadcrumbs: based("breadcrumbs", both("weight: 0.6, density: 0.7, gamma: 0.02")),
  breadcrumbs_ties: based("breadcrumbs_ties", both("weight: 0.6, density: 0.7, gamma: 0.02")),
};

interface Row {
  readonly exact: boolean;
  readonly files: boolean;
  readonly comparison: Comparison;
}

/** `npm run peers -- merge-parity`: the same YAML through both, on Llama- and GPT-2-shaped checkpoints, in f32 and from f32 to bf16. */
export async function mergeParity(): Promise<void> {
  const rows: Record<string, Row | { readonly error: string }> = {};
  await inScratch(async (folder) => {
    for (const architecture of ["llama", "gpt2"] as const) {
      const own = join(folder, architecture);
      mkdirSync(own);
      await makeModels(own, architecture, "tiny", 3, "float32", "400KB");
      for (const [name, body] of Object.entries(configs))
        for (const types of ["dtype: float32\n", "dtype: float32\nout_dtype: bfloat16\n"]) {
          const half = types.includes("out_dtype");
          const key = `${architecture}, ${name}, ${half ? "bf16" : "f32"}`;
          const config = writeConfig(own, "case", `${body}${types}`);
          try {
            await mergeOurs(own, config, "ours");
            await mergeTheirs(own, config, "theirs");
            const comparison = await compareOutputs(own, "ours", "theirs", !half);
            const files =
              [comparison.missing, comparison.extra, comparison.types, comparison.config].every((list) => list.length === 0) &&
              comparison.loads !== false;
            const exact = half ? comparison.equal / comparison.elements >= 0.9999 && comparison.ulps <= 1 : comparison.relative <= 1e-6;
            rows[key] = { exact, files, comparison };
            console.log(
              `${exact && files ? "ok  " : "FAIL"} ${key}: ${half ? `${((100 * comparison.equal) / comparison.elements).toFixed(4)} % equal, at most ${comparison.ulps} ulp` : `relative error ${comparison.relative.toExponential(1)}`}${files ? "" : `; differs: ${JSON.stringify([comparison.missing, comparison.extra, comparison.types, comparison.config, comparison.loads])}`}`,
            );
          } catch (error) {
            rows[key] = { error: error instanceof Error ? error.message.slice(-1500) : String(error) };
            console.log(`FAIL ${key}: ${(rows[key] as { error: string }).error}`);
          }
        }
    }
    writeResult("merge-parity", {
      name: "merge-parity",
      what: "the same YAML through lfm and mergekit: f32 within 1e-6 of the tensor's largest magnitude; bf16 ≥ 99.99 % equal, none off by more than one step",
      peer: "mergekit",
      reached: Object.values(rows).every((r) => "exact" in r && r.exact && r.files),
      rows,
      versions: await versions(folder),
      machine,
      date: new Date().toISOString().slice(0, 10),
    });
  });
  if (Object.values(rows).some((r) => !("exact" in r && r.exact && r.files))) process.exitCode = 1;
}
