/**
 * Knowledge neurons (arXiv 2104.08696): the neurons of all MLPs that speak most for the answer that the model gives, by integrated gradients;
 * in the output projection their columns lose the old answer's embedding and gain the new one's.
 *   neurons: attribution > threshold · the largest, behind the prompt and more than a share of its prefixed forms (section 3)
 *   w ← w − λ₁·t + λ₂·t′ (section 5.1)
 * Several facts are written one after the other.
 */
import { type Delta, type HostTensor, LfmError, loadWeight, type MethodContext, type Model, makeDelta, widenToF32 } from "@lfm/core";
import { z } from "zod";
import { CleanAndEdited, defineEditingMethod, type Editor, editedModel } from "../editor.js";
import { type EditRequest, promptRows, requireRequests } from "../inputs.js";
import { mlpOutSite } from "../keys.js";
import { compileAttribution, type NeuronAttribution } from "../neuron-attribution.js";
import { rankOneForm, rankOneTensors } from "../rank-one.js";

const config = z.strictObject({
  steps: z.number().int().positive().default(20).describe("steps m of the integral"),
  threshold: z.number().gt(0).lt(1).default(0.2).describe("least attribution of a neuron, as a share of the largest"),
  shared: z.number().min(0).lt(1).default(0.4).describe("a neuron must stand out behind more than this share of the prefixed prompts"),
  erase: z.number().min(0).default(1).describe("λ₁: how often the old answer's embedding is taken off"),
  write: z.number().min(0).default(8).describe("λ₂: how often the new answer's embedding is added"),
});

export const kn = defineEditingMethod({
  id: "kn",
  summary: "Finds the neurons that speak for the old answer and turns them to the new one.",
  paper: { title: "Knowledge Neurons in Pretrained Transformers", arxiv: "2104.08696", year: 2021, survey: "7.2 parameter-based editing" },
  needs: ["weights", "grad", "activations"],
  config,
  delta: rankOneForm,
  single: true,
  prepare: ({ model, prefixes = [], parent }, c, context): Editor => {
    const sites = Array.from({ length: model.info.layers }, (_, layer) => mlpOutSite(model, layer));
    let embedding: ReturnType<typeof tokenEmbedding> | undefined;
    const attributions = new CleanAndEdited((at) => compileAttribution(context.engine, at, sites));
    let done = 0;
    const write = async (request: EditRequest, previous: readonly Delta[], total: number): Promise<Record<string, HostTensor>> => {
      const attribution = await attributions.on(editedModel(model, previous), previous.length > 0 ? "edited" : "clean");
      const prompts = promptRows(request, [[], ...prefixes]).map(({ tokens, answer }) => tokens.slice(0, -answer));
      const said = await attribution.says(prompts[0]!);
      const report = (): void => context.progress({ phase: "kn", done: ++done, total, unit: "prompt" });
      const neurons = await knowledgeNeurons(attribution, prompts, said, c, context, report);
      embedding ??= tokenEmbedding(model);
      const { data, width } = embedding;
      const value = new Float64Array(width);
      const addRow = (token: number, times: number): void => {
        for (let i = 0; i < width; i++) value[i] = value[i]! + times * data[token * width + i]!;
      };
      addRow(said, -c.erase);
      for (const token of request.target) addRow(token, c.write);
      const tensors = sites.flatMap((site, l) => {
        if (neurons[l]!.length === 0) return [];
        const key = new Float64Array(site.weight!.in);
        for (const neuron of neurons[l]!) key[neuron] = 1;
        return [rankOneTensors(site, [{ key, value }])];
      });
      return Object.assign({}, ...tensors);
    };
    const patch = (tensors: Record<string, HostTensor>): Delta => makeDelta(kn, c, tensors, { parent: parent ?? null });
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        done = 0;
        let delta: Delta | undefined;
        for (const request of requests) {
          const below = delta ? [...previous, delta] : previous;
          const one = patch(await write(request, below, requests.length * (prefixes.length + 1)));
          delta = delta?.join ? delta.join(one) : one;
        }
        return { delta: delta!, model: editedModel(model, [...previous, delta!]), curves: {} };
      },
      dispose: () => attributions.dispose(),
    };
  },
});

/** Of each site, the neurons that stand out behind enough of the prompts. @throws {LfmError} CONFIG_INVALID where there is none */
async function knowledgeNeurons(
  attribution: NeuronAttribution,
  prompts: readonly (readonly number[])[],
  token: number,
  { steps, threshold, shared }: z.output<typeof config>,
  context: MethodContext,
  report: () => void,
): Promise<readonly (readonly number[])[]> {
  const counts: Uint32Array[] = [];
  for (const prompt of prompts) {
    const found = await attribution.of(prompt, token, steps, context);
    const largest = found.reduce((m, a) => a.reduce((n, v) => Math.max(n, v), m), 0);
    for (const [l, a] of found.entries()) {
      counts[l] ??= new Uint32Array(a.length);
      for (let i = 0; i < a.length; i++) if (largest > 0 && a[i]! > threshold * largest) counts[l]![i]!++;
    }
    report();
  }
  const neurons = counts.map((c) => Array.from(c.keys()).filter((i) => c[i]! > shared * prompts.length));
  if (neurons.some((n) => n.length > 0)) return neurons;
  throw new LfmError("CONFIG_INVALID", "[@lfm/editing] kn: no neuron stands out behind enough of the prompts", {
    hint: "lower --shared or --threshold",
  });
}

/** The rows of the model's token embedding. @throws {LfmError} CAPABILITY_MISSING */
function tokenEmbedding(model: Model): { readonly data: Float32Array; readonly width: number } {
  const { info } = model;
  const site = info.sites.find((s) => s.kind === "embedding" && s.weight);
  if (!site) throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] kn: ${info.architecture} embeds no tokens`);
  const table = widenToF32(loadWeight(model.params[site.weight!.name]!));
  return { data: table.data as Float32Array, width: table.shape[1]! };
}
