import {
  add,
  argMax,
  cast,
  concat,
  dimAdd,
  dimSub,
  type HookContext,
  iota,
  LfmError,
  mean,
  mul,
  type Outputs,
  type ParamTree,
  relu,
  type Site,
  slice,
  squeeze,
  type Tensor,
  tanh,
} from "@lfm/core";
import { rowsAt } from "../rows-at.js";
import { siteLinear } from "../sites.js";
import type { Declarations } from "./declarations.js";

/** What a classification checkpoint has behind its encoder or decoder. */
export interface ClassificationHead {
  /** The linear layer that gives the classes. */
  readonly output: string;
  /** It reads the encoder's states itself: transformers' class has no pooler, and neither do its checkpoints. */
  readonly withoutPooler?: true;
  /** @param width of the encoder's states */
  declare(d: Declarations, width: number, classes: number): void;
  /** What it reads of the model's outputs, f32[batch, …]. @param mask of the input; without it all tokens count */
  features(outputs: Outputs, mask?: Tensor): Tensor;
  /** @param pooled what `features` gives; @param dropped where the checkpoint's model drops out, with a label of the place. f32[batch, classes] */
  logits(
    context: HookContext,
    find: (path: string) => Site,
    params: ParamTree,
    pooled: Tensor,
    dropped: (x: Tensor, label: string) => Tensor,
  ): Tensor;
}

/** The last state of the first token, behind prompts. */
function first(outputs: Outputs): Tensor {
  return squeeze(slice(lastOf(outputs), 1, outputs.prefix ?? 0, 1), 1);
}

function lastOf({ last }: Outputs): Tensor {
  if (!last) throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] the model gives no last hidden state");
  return last;
}

const linear: ClassificationHead = {
  output: "classifier",
  features: ({ pooled }) => {
    if (!pooled) throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] the model gives no pooled vector");
    return pooled;
  },
  declare: (d, width, classes) => d.linear("classifier", { kind: "head", role: "classifier", in: width, out: classes }),
  logits: (context, find, params, pooled, dropped) => siteLinear(context, find("classifier"), params, dropped(pooled, "dropout")),
};

/** dropout, dense, tanh, dropout, projection */
const roberta: ClassificationHead = {
  output: "classifier.out_proj",
  withoutPooler: true,
  features: first,
  declare: (d, width, classes) => {
    d.linear("classifier.dense", { kind: "pooler", in: width, out: width });
    d.linear("classifier.out_proj", { kind: "head", role: "classifier", in: width, out: classes });
  },
  logits: (context, find, params, pooled, dropped) => {
    const dense = tanh(siteLinear(context, find("classifier.dense"), params, dropped(pooled, "classifier.dropout.0")));
    return siteLinear(context, find("classifier.out_proj"), params, dropped(dense, "classifier.dropout.1"));
  },
};

/** dense, relu, dropout, projection */
const distilbert: ClassificationHead = {
  output: "classifier",
  features: first,
  declare: (d, width, classes) => {
    d.linear("pre_classifier", { kind: "pooler", in: width, out: width });
    linear.declare(d, width, classes);
  },
  logits: (context, find, params, pooled, dropped) =>
    linear.logits(context, find, params, relu(siteLinear(context, find("pre_classifier"), params, pooled)), dropped),
};

/** The class token beside the mean of the patches. */
const dinov2: ClassificationHead = {
  ...linear,
  declare: (d, width, classes) => linear.declare(d, 2 * width, classes),
  features: (outputs) => {
    const last = lastOf(outputs);
    const patches = dimAdd(outputs.prefix ?? 0, 1);
    return concat([first(outputs), mean(slice(last, 1, patches, dimSub(last.dim(1), patches)), 1)], 1);
  },
};

/** transformers keeps it behind a layer that flattens. */
const resnet: ClassificationHead = {
  ...linear,
  output: "classifier.1",
  declare: (d, width, classes) => d.linear("classifier.1", { kind: "head", role: "classifier", in: width, out: classes }),
  logits: (context, find, params, pooled) => siteLinear(context, find("classifier.1"), params, pooled),
};

/** transformers' head of decoders: a linear layer without bias on the state of the last token that is seen. */
export const decoderHead: ClassificationHead = {
  output: "score",
  declare: (d, width, classes) => d.linear("score", { kind: "head", role: "classifier", in: width, out: classes, bias: false }),
  features: (outputs, mask) => {
    const last = lastOf(outputs);
    if (!mask) return squeeze(slice(last, 1, dimSub(last.dim(1), 1), 1), 1);
    const places = add(cast(iota(mask.dim(1)), "f32"), 1);
    return squeeze(rowsAt(last, argMax(mul(mask, places)), mask.dim(1)), 1);
  },
  logits: (context, find, params, pooled) => siteLinear(context, find("score"), params, pooled),
};

const heads: Readonly<Record<string, ClassificationHead>> = { roberta, "xlm-roberta": roberta, distilbert, dinov2, resnet };

/** The head of an architecture's checkpoints; one linear layer where nothing else is known. */
export function classificationHead(architecture?: string): ClassificationHead {
  return (architecture !== undefined && Object.hasOwn(heads, architecture) ? heads[architecture] : undefined) ?? linear;
}
