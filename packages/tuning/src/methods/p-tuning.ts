/** P-tuning (arXiv 2103.10385): a prompt that is learned through an encoder, an MLP or an LSTM, which is dropped in the end. */
import { linear, type ParamTree, relu, type Tensor } from "@lfm/core";
import { softPrompt } from "@lfm/models";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { freshEmbedding, freshLinear } from "../fresh-layers.js";
import { requireRoom } from "../initial-prompt.js";
import { bidirectionalLstm, freshLstm } from "../lstm.js";
import type { PeftForm } from "../peft-form.js";
import { PROMPT_TENSOR, promptForm } from "../prompt-form.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  numVirtualTokens: z.number().int().positive().default(20).describe("length v of the prompt, tokens"),
  encoder: z
    .enum(["mlp", "lstm"])
    .default("mlp")
    .describe("three layers with relu; or an LSTM in both directions with two layers behind it"),
  encoderHiddenSize: z.number().int().positive().optional().describe("inner width of the encoder; default: the model's"),
  encoderLayers: z.number().int().positive().default(2).describe("layers of the LSTM"),
  ...trainingFields(1e-2),
});
type Config = z.output<typeof config>;

const form = promptForm("P_TUNING");
const peft: PeftForm<Config> = {
  ...form,
  write: (c, own, model, stored) => {
    const { options, tensors } = form.write(c, own, model, stored);
    const encoder = { encoder_reparameterization_type: c.encoder.toUpperCase(), encoder_num_layers: c.encoderLayers, encoder_dropout: 0 };
    return { options: { ...options, ...encoder, encoder_hidden_size: c.encoderHiddenSize ?? model.info.hiddenSize }, tensors };
  },
};

export const pTuning = defineTuning({
  id: "p-tuning",
  summary: "Learns a prompt through an encoder, which is dropped in the end.",
  paper: { title: "GPT Understands, Too", arxiv: "2103.10385", year: 2021, survey: "3.2 input engineering" },
  config,
  presets: { lstm: { summary: "through an LSTM, as the paper learns it", config: { encoder: "lstm" } } },
  delta: { hooks: (_c, t) => [softPrompt(t[PROMPT_TENSOR]!)] },
  peft,
  training: (c) => c,
  start: ({ model }, c, context) => {
    const v = c.numVirtualTokens;
    requireRoom("p-tuning", model, v);
    const d = model.info.hiddenSize;
    const [h, rng] = [c.encoderHiddenSize ?? d, context.rng.split("init")];
    const embedding = freshEmbedding("embedding", rng, v, d);
    if (c.encoder === "mlp")
      return {
        learned: {
          ...embedding,
          ...freshLinear("mlp_head.0", rng, { in: d, out: h }),
          ...freshLinear("mlp_head.2", rng, { in: h, out: h }),
          ...freshLinear("mlp_head.4", rng, { in: h, out: d }),
        },
      };
    return {
      learned: {
        ...embedding,
        ...freshLstm("lstm_head", rng, { in: d, hidden: h, layers: c.encoderLayers }),
        ...freshLinear("mlp_head.0", rng, { in: 2 * h, out: 2 * h }),
        ...freshLinear("mlp_head.2", rng, { in: 2 * h, out: d }),
      },
    };
  },
  express: (c, t) => ({ [PROMPT_TENSOR]: encoded(c, t) }),
});

function encoded({ encoder, encoderLayers }: Config, t: ParamTree): Tensor {
  const layer = (i: number, x: Tensor): Tensor => linear(x, t[`mlp_head.${i}.weight`]!, t[`mlp_head.${i}.bias`]);
  const x = t["embedding.weight"]!;
  if (encoder === "mlp") return layer(4, relu(layer(2, relu(layer(0, x)))));
  return layer(2, relu(layer(0, bidirectionalLstm(x, "lstm_head", t, encoderLayers))));
}
