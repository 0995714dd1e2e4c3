/** LN tuning (arXiv 2312.11420): scales and shifts of the norms learn, everything else stays. As PEFT's LN_TUNING, which keeps copies of the norms. */
import { type HostTensor, LfmError, type Model, replacedParameters, type Site, trainableParams } from "@lfm/core";
import { refuseOtherOptions } from "@lfm/formats";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { expectShapes, type PeftForm, siteTensors } from "../peft-form.js";
import { namedSites } from "../target-sites.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  targetModules: z.array(z.string()).min(1).optional().describe("norms by path or dotted suffix; default all"),
  excludeModules: z.array(z.string()).default([]).describe("norms that are left out of these"),
  ...trainingFields(3e-2),
});

/** PEFT's name of its copy of a norm. */
const LAYER = "ln_tuning_layers";

const normsOf = (model: Model): readonly Site[] => model.info.sites.filter((site) => site.kind === "norm");

/** The parameters of a norm that gradients reach, by their names in it. */
function partsOf(model: Model, { params = {} }: Site): readonly (readonly [part: string, name: string])[] {
  return Object.entries(params).filter(([, name]) => model.info.params[name]!.trainable);
}

const peft: PeftForm<z.output<typeof config>> = {
  type: "LN_TUNING",
  holds: (name, model) => normsOf(model).some((site) => Object.values(site.params ?? {}).includes(name)),
  refusal: (delta, model) => {
    const batch = normsOf(model).find((site) => site.params?.running_mean && site.params.weight! in delta.tensors);
    return batch && { what: `the batch norm "${batch.path}"`, hint: "PEFT's copies of batch norms have running statistics of their own" };
  },
  write: (_c, own, model) => {
    const learned = normsOf(model).filter((site) => partsOf(model, site).some(([, name]) => name in own));
    const tensors = learned.flatMap((site) =>
      partsOf(model, site).map(
        ([part, name]) => [`${site.path}.${LAYER}.${part}`, own[name] ?? trainableParams(model, [name])[name]!] as const,
      ),
    );
    return { options: { target_modules: learned.map((site) => site.path) }, tensors: Object.fromEntries(tensors) };
  },
  read: (adapter, model) => {
    refuseOtherOptions(adapter.config, []);
    const found = siteTensors(
      adapter,
      model,
      ["weight", "bias"].map((part) => `${LAYER}.${part}`),
      "norm",
    );
    const tensors: Record<string, HostTensor> = {};
    for (const site of found.sites) {
      const own = partsOf(model, site);
      expectShapes(
        found.tensors,
        site.path,
        Object.fromEntries(own.map(([part, name]) => [`${LAYER}.${part}`, model.info.params[name]!.shape])),
      );
      for (const [part, name] of own) tensors[name] = found.tensors[`${site.path}.${LAYER}.${part}`]!;
    }
    if (Object.keys(tensors).length !== Object.keys(found.tensors).length)
      throw new LfmError("OP_UNSUPPORTED", "[@lfm/tuning] the adapter has shifts for norms that have none in this model");
    return { config: { targetModules: found.sites.map((site) => site.path) }, tensors, parameters: found.parameters };
  },
};

export const lnTuning = defineTuning({
  id: "ln-tuning",
  summary: "Learns scales and shifts of the norms; everything else stays frozen.",
  paper: {
    title: "Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning",
    arxiv: "2312.11420",
    year: 2023,
    survey: "3.1 weight engineering",
  },
  config,
  delta: replacedParameters,
  peft,
  training: (c) => c,
  start: ({ model }, c) => {
    const norms = normsOf(model);
    if (norms.length === 0)
      throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] ln-tuning: this ${model.info.architecture} has no norms`);
    const without = new Set(namedSites(norms, c.excludeModules, "norm"));
    const chosen = (c.targetModules ? namedSites(norms, c.targetModules, "norm") : norms).filter((site) => !without.has(site));
    return { learned: trainableParams(model, [...new Set(chosen.flatMap((site) => partsOf(model, site).map(([, name]) => name)))]) };
  },
});
