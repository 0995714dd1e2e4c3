import { convertFloat, type Engine, type HostTensor, LfmError, type Model, plainWeights, type Weights, withDeltas } from "@lfm/core";
import { placeOfSubject } from "@lfm/data";
import { factTokens } from "@lfm/editing";
import { calibrationText, createPredictor, idsOfText, loadModel, type SaveOptions, type TextRules } from "@lfm/models";
import { engineOf } from "../inputs/engine.js";
import { loadDeltas, type OpenedModel, openPlain } from "../inputs/models.js";
import { withResult } from "../outputs/result-folder.js";
import { saveWhole } from "../outputs/save-found.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { type PatchedFact, readPatch } from "./patch.js";
import { patchesIn } from "./stack.js";

interface MergeRequest extends JobRequest {
  readonly model: string;
  readonly patches: readonly string[];
  readonly out: string;
  readonly overwrite?: boolean;
  readonly dtype?: NonNullable<SaveOptions["dtype"]>;
}

/** Prompts that the two models are asked. */
const MOST = 64;
/** Largest difference of a logit, in units of the largest logit, between sums in f32 that are taken in another order. */
const EXACT = 1e-3;

/**
 * `lfm patch merge`: a plain folder, which is read again and must answer as the patched model does before it gets its name.
 * @throws {LfmError} CAPABILITY_MISSING for a patch that is more than weights; PARENT_MISMATCH; NUMERIC_DIVERGED where the weights, rounded to
 *   their dtype, answer otherwise; FILE_IO, FILE_FORMAT
 */
export async function mergePatches(
  { model, patches, out, overwrite = false, dtype, ...request }: MergeRequest,
  job: JobContext,
): Promise<JobResult> {
  return withResult(out, { overwrite, inputs: [model, ...patches] }, async ({ finish }) => {
    const engine = await engineOf(request);
    const base = await openPlain(model, job);
    const deltas = await loadDeltas(patches, base);
    const facts = patches.flatMap(patchesIn).flatMap(({ path }) => readPatch(path).facts);
    const changed = await plainWeights(engine, base.model, deltas);
    const params: Weights = { ...base.model.params, ...asStored(changed, base.model.params) };
    const asked = questions(base, facts);
    const check = await finish(async (folder) => {
      await saveWhole(folder, { ...base, model: { ...base.model, params } }, dtype);
      const written = (await loadModel(folder)).model;
      const found = await compared(engine, withDeltas(base.model, deltas), written, asked);
      const rounded = Object.keys(changed).some((name) => written.params[name]?.dtype !== "f32");
      requireEqual(found, rounded);
      return found;
    });
    const { difference, prompts } = check;
    return {
      value: { model, patches, changed: Object.keys(changed), facts: facts.length, ...check, out },
      text: [
        `${model} with ${patches.join(" and ")} in ${Object.keys(changed).length} weights`,
        `asked ${prompts} prompts, it answers as the patched model does: logits within ${difference.toExponential(1)} of the largest`,
        `saved to ${out}; use it with --model ${out}`,
      ].join("\n"),
    };
  });
}

/** What changed in the dtype that it had. */
function asStored(changed: Readonly<Record<string, HostTensor>>, base: Weights): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(changed).map(([name, t]) => {
      const was = base[name]!.dtype;
      return [name, was === "bf16" || was === "f16" ? convertFloat(t, was) : t];
    }),
  );
}

/** Prompts of the facts as the model reads them, and a text of no facts at all. */
function questions({ text }: Pick<OpenedModel, "text">, facts: readonly PatchedFact[]): readonly (readonly number[])[] {
  if (text === undefined) return [Array.from({ length: 8 }, (_, i) => i)];
  return [...facts.slice(0, MOST).map((fact) => promptOf(text, fact)), plainText(text)];
}

function promptOf(rules: TextRules, fact: PatchedFact): readonly number[] {
  const start = placeOfSubject(fact.prompt, fact.subject);
  return factTokens(rules, { ...fact, ...(start === undefined ? {} : { subjectStart: start }) }).prompt;
}

function plainText(rules: TextRules): readonly number[] {
  return [...rules.start, ...idsOfText(rules, calibrationText)].slice(0, Math.min(64, rules.maxLength ?? 64));
}

interface Compared {
  readonly prompts: number;
  /** Prompts behind which another token is the most likely. */
  readonly otherAnswers: number;
  /** Largest difference of a logit, in units of the largest logit. */
  readonly difference: number;
}

async function compared(engine: Engine, patched: Model, plain: Model, asked: readonly (readonly number[])[]): Promise<Compared> {
  const logits = async (model: Model): Promise<readonly HostTensor[]> => {
    const predictor = await createPredictor(engine, model, "next");
    try {
      return await predictor.predict(asked);
    } finally {
      await predictor.dispose();
    }
  };
  const [a, b] = [await logits(patched), await logits(plain)];
  let [largest, difference, otherAnswers] = [0, 0, 0];
  for (const [i, row] of a.entries()) {
    const [x, y] = [row.data as Float32Array, b[i]!.data as Float32Array];
    for (let j = 0; j < x.length; j++) {
      largest = Math.max(largest, Math.abs(x[j]!));
      difference = Math.max(difference, Math.abs(x[j]! - y[j]!));
    }
    if (x.indexOf(Math.max(...x)) !== y.indexOf(Math.max(...y))) otherAnswers++;
  }
  return { prompts: asked.length, otherAnswers, difference: largest === 0 ? difference : difference / largest };
}

/** @throws {LfmError} NUMERIC_DIVERGED */
function requireEqual({ otherAnswers, prompts, difference }: Compared, rounded: boolean): void {
  if (otherAnswers === 0 && (rounded || difference <= EXACT)) return;
  throw new LfmError(
    "NUMERIC_DIVERGED",
    `lfm: with the patches in its weights the model does not answer as with them on it: ${otherAnswers} of ${prompts} answers differ, logits by ${difference.toExponential(1)} of the largest`,
    rounded ? { hint: "its weights are rounded: --dtype f32" } : {},
  );
}
