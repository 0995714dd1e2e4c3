/** Heads of classifiers beside adapters of the library `adapters`, as its static heads (`classifier.weight`) and as its flexible ones (`heads.mood.1.weight`). */
import { type HostTensor, LfmError, type Model } from "@lfm/core";
import { type HubHead, namedRecord, writeHubPart } from "@lfm/formats";
import { isHeadParameter } from "@lfm/models";

/** Layers of the library's flexible heads that are an architecture's own head, by their places: dropouts and activations have none. */
const flexible: Readonly<
  Record<string, { readonly config: Readonly<Record<string, unknown>>; readonly layers: Readonly<Record<string, string>> }>
> = {
  bert: { config: { layers: 1, use_pooler: true }, layers: { "1": "classifier" } },
  roberta: { config: { layers: 2, activation_function: "tanh" }, layers: { "1": "classifier.dense", "4": "classifier.out_proj" } },
  distilbert: { config: { layers: 2, activation_function: "relu" }, layers: { "1": "pre_classifier", "4": "classifier" } },
};

/**
 * The head's parameters under the model's names.
 * @throws {LfmError} OP_UNSUPPORTED for a head that the architecture's class has not; SHAPE_MISMATCH for another number of classes
 */
export function fromHubHead(folder: string, head: HubHead, { info }: Model): Record<string, HostTensor> {
  const out = namedRecord<HostTensor>();
  for (const [name, t] of Object.entries(head.tensors)) {
    const own = isHeadParameter(name) ? name : flexibleName(folder, name, head, info.architecture);
    const known = Object.hasOwn(info.params, own) ? info.params[own] : undefined;
    if (known && known.shape.join() !== t.shape.join())
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/tuning] ${folder}: the head's "${name}" is [${t.shape}], the model has [${known.shape}]`,
        {
          hint: "give the encoder without its head: the adapter brings its own",
        },
      );
    out[own] = t;
  }
  return out;
}

/** Beside an adapter, as the static head of transformers' class. @throws {LfmError} FILE_IO */
export async function toHubHead(
  folder: string,
  tensors: Readonly<Record<string, HostTensor>>,
  { info }: Model,
  around: Readonly<Record<string, unknown>> & { readonly labels?: readonly string[] | undefined },
): Promise<void> {
  const { labels, ...rest } = around;
  const classes = info.classes ?? 0;
  const names = labels ?? Array.from({ length: classes }, (_, i) => `LABEL_${i}`);
  const config = {
    ...rest,
    name: null,
    config: null,
    model_class: classOfHead[info.architecture] ?? null,
    num_labels: classes,
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
  };
  await writeHubPart(folder, "head", config, tensors);
}

const classOfHead: Readonly<Record<string, string>> = {
  bert: "BertForSequenceClassification",
  distilbert: "DistilBertForSequenceClassification",
  roberta: "RobertaForSequenceClassification",
  vit: "ViTForImageClassification",
  "xlm-roberta": "XLMRobertaForSequenceClassification",
};

function flexibleName(folder: string, name: string, { config }: HubHead, architecture: string): string {
  const own = flexible[architecture === "xlm-roberta" ? "roberta" : architecture];
  const options = (config.config ?? {}) as Readonly<Record<string, unknown>>;
  const differs = Object.entries(own?.config ?? {}).find(([key, value]) => options[key] !== value);
  const [, place, part] = /^heads\.[^.]+\.(\d+)\.(weight|bias)$/.exec(name) ?? [];
  const layer = place === undefined ? undefined : own?.layers[place];
  if (own && differs === undefined && layer !== undefined && options.head_type === "classification") return `${layer}.${part}`;
  const why = differs ? `its ${differs[0]} is ${JSON.stringify(options[differs[0]])}` : `"${name}" has no place in it`;
  throw new LfmError(
    "OP_UNSUPPORTED",
    `[@lfm/tuning] ${folder}: the head beside the adapter is none that ${architecture} has in transformers: ${why}`,
    {
      hint: "save the adapter without it: model.save_adapter(folder, name, with_head=False)",
    },
  );
}
