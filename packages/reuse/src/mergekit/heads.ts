import { LfmError } from "@lfm/core";
import type { HeadChoice, MergeDocument } from "./document.js";
import { layoutOf } from "./layout.js";
import type { ModelFiles } from "./model-files.js";
import { isAnyHead, isTaskHead, labelsOf, withoutHead } from "./task-heads.js";
import { shapeOf } from "./tensor-types.js";

/** The models as they take part, once it is decided whose heads count. */
export interface ChosenHeads {
  readonly opened: ReadonlyMap<string, ModelFiles>;
  /** The model whose heads the result has as they are, with its config and its names. */
  readonly from?: ModelFiles;
  readonly notes: readonly string[];
}

const CHOICES = "heads: MODEL keeps that model's, heads: none leaves them out, heads: merge merges what is there (--heads)";

/** What to do about heads that do not fit together. */
export const headHint = `heads for different things cannot be merged; ${CHOICES}`;

/**
 * Takes heads out of the models that do not give the result's. A pooler that some of the models lack counts as a part of the head: it was trained
 * with it.
 * @param opened the models of the document by reference
 * @throws {LfmError} CONFIG_INVALID for a model that is not among them or has no head, and for heads of equal shape whose classes have other names
 */
export function chooseHeads(document: MergeDocument, opened: ReadonlyMap<string, ModelFiles>): ChosenHeads {
  const { heads } = document;
  if (!heads || heads.kind === "merge") {
    if (!heads) refuseOtherLabels(document, [...opened.values()]);
    return { opened, notes: [] };
  }
  const chosen = heads.kind === "model" ? modelOf(document, heads, opened) : undefined;
  const poolers = unshared([...opened.values()], /(^|\.)pooler\./);
  const isHeadHere = (name: string): boolean => isAnyHead(name) || poolers.has(bare(name));
  const left = new Map<string, ModelFiles>();
  const without: string[] = [];
  for (const [text, files] of opened) {
    const kept = files === chosen ? files : bodyOf(files, isHeadHere, heads.kind === "none");
    if (kept !== files && kept.tensors.size < files.tensors.size) without.push(files.name);
    left.set(text, kept);
  }
  if (chosen && ![...chosen.tensors.keys()].some(isHeadHere))
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${document.locate(["heads"])}: "${chosen.name}" has no head`, {
      hint: `models with one: ${without.map((m) => `"${m}"`).join(", ") || "none"}`,
    });
  const names = chosen && [...chosen.tensors.keys()].some(isTaskHead) ? labelsOf(chosen.config) : undefined;
  const others = without.map((m) => `"${m}"`).join(", ");
  return {
    opened: left,
    ...(chosen ? { from: chosen } : {}),
    notes: [
      ...(chosen ? [`the head is that of "${chosen.name}"${names ? ` (${names.join(", ")})` : ""}`] : []),
      ...(without.length > 0 ? [`heads that are left out: those of ${others}`] : []),
    ],
  };
}

/** Whether a tensor of the result comes from the model whose heads count, alone. */
export function isOfHead(name: string, from: ModelFiles, others: readonly ModelFiles[]): boolean {
  if (isAnyHead(name)) return true;
  return (
    /(^|\.)pooler\./.test(name) && others.some((files) => files !== from && ![...files.tensors.keys()].some((n) => bare(n) === bare(name)))
  );
}

function modelOf(
  document: MergeDocument,
  { model }: Extract<HeadChoice, { kind: "model" }>,
  opened: ReadonlyMap<string, ModelFiles>,
): ModelFiles {
  const found = opened.get(model.text);
  if (found) return found;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/reuse] ${document.locate(["heads"])}: "${model.text}" is none of the models that are merged`,
    {
      hint: `${CHOICES}; there are: ${[...opened.keys()].join(", ")}`,
    },
  );
}

/** The model without its heads. @param plain its config is that of a model without one, too */
function bodyOf(files: ModelFiles, isHeadHere: (name: string) => boolean, plain: boolean): ModelFiles {
  const tensors = new Map([...files.tensors].filter(([name]) => !isHeadHere(name)));
  const layout = layoutOf(new Map([...tensors].map(([name, t]) => [name, shapeOf(t)])));
  return { ...files, tensors, layout, config: plain ? withoutHead(files.config) : files.config };
}

/** Without the name of the body in front: `bert.pooler.dense.weight` and `pooler.dense.weight` are the same. */
function bare(name: string): string {
  return name.replace(/^[a-z_0-9]+\.(?=pooler\.)/, "");
}

/** Names of a kind that some of the models have and others lack. */
function unshared(models: readonly ModelFiles[], kind: RegExp): ReadonlySet<string> {
  const of = models.map((files) => new Set([...files.tensors.keys()].filter((name) => kind.test(name)).map(bare)));
  return new Set(of.flatMap((names) => [...names].filter((name) => of.some((other) => !other.has(name)))));
}

/** transformers' own names say nothing. */
const isNamed = (labels: readonly string[]): boolean => !labels.every((label, i) => label === `LABEL_${i}`);

/** Heads of one shape can be for different things: the mean of "positive" and "entailment" is neither. */
function refuseOtherLabels(document: MergeDocument, models: readonly ModelFiles[]): void {
  const headed = models.flatMap((files) => {
    const labels = [...files.tensors.keys()].some(isTaskHead) ? labelsOf(files.config) : undefined;
    return labels && isNamed(labels) ? [{ files, labels }] : [];
  });
  const [first] = headed;
  const other = headed.find(({ labels }) => labels.join("\n") !== first!.labels.join("\n"));
  if (!first || !other) return;
  const spoken = ({ files, labels }: typeof first): string => `"${files.name}" (${labels.join(", ")})`;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/reuse] ${document.locate(["models"])}: the heads of ${spoken(first)} and ${spoken(other)} are for different classes`,
    {
      hint: CHOICES,
    },
  );
}
