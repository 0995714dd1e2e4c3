import type { Model, ModelInfo } from "@lfm/core";

/** How Python loads an adapter on its base. */
export interface PeftRecipe {
  /** One expression. */
  readonly line: string;
  /** A README with the whole program: what the adapter is, and the names of its classes, which its files have no place for. */
  readonly text: string;
}

const CLASSES: Readonly<Record<ModelInfo["task"], string>> = {
  "causal-lm": "AutoModelForCausalLM",
  "seq2seq-lm": "AutoModelForSeq2SeqLM",
  classifier: "AutoModelForSequenceClassification",
  encoder: "AutoModel",
  regressor: "AutoModelForSequenceClassification",
};

/** How Python loads a folder of a whole model. @param folder its name */
export function loadingLine({ info }: Model, folder: string): string {
  return `${autoClass(info)}.from_pretrained(${JSON.stringify(folder)})`;
}

/** transformers' class that finds the model's own. */
function autoClass(info: ModelInfo): string {
  return info.input === "pixels" && info.task === "classifier" ? "AutoModelForImageClassification" : CLASSES[info.task];
}

/**
 * @param given base: its name or path; folder: the adapter's; labels: names of the classes in their order
 */
export function peftRecipe(
  { info }: Model,
  given: { readonly base: string; readonly folder: string; readonly labels?: readonly string[] },
): PeftRecipe {
  const [base, folder] = [JSON.stringify(given.base), JSON.stringify(given.folder)];
  const auto = autoClass(info);
  const classes = info.task === "classifier" ? `, num_labels=${info.classes}` : info.task === "regressor" ? ", num_labels=1" : "";
  const line = `PeftModel.from_pretrained(${auto}.from_pretrained(${base}${classes}), ${folder})`;
  const names =
    given.labels === undefined ? "" : ", id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)}";
  const program = [
    "from peft import PeftModel",
    `from transformers import ${auto}`,
    "",
    ...(given.labels === undefined ? [] : [`labels = ${JSON.stringify(given.labels)}`]),
    `base = ${auto}.from_pretrained(${base}${classes}${names})`,
    `model = PeftModel.from_pretrained(base, ${folder}).eval()  # the folder of this file`,
  ];
  const about =
    given.labels === undefined ? "An adapter" : `An adapter with a head of ${given.labels.length} classes (${given.labels.join(", ")})`;
  return {
    line,
    text: `# Adapter of ${given.base}\n\n${about} in PEFT's form.\n\n\`\`\`python\n${program.join("\n")}\n\`\`\`\n`,
  };
}
