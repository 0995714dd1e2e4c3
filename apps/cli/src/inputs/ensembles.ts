import { i32, LfmError, type MethodContext, nearestName, runMethod } from "@lfm/core";
import { type Examples, readExamples } from "@lfm/data";
import { ensemble } from "@lfm/reuse";
import type { JobContext } from "../program/job.js";
import { classNames } from "./labels.js";
import { type NamedModel, requireTokenizer, resolveModel, splitDeltas } from "./models.js";
import { type BatchOptions, labelledRows, taskKind } from "./tasks.js";

export interface EnsembleRequest {
  /** MODEL or MODEL+DELTA. */
  readonly member: readonly string[];
  /** A mode or a preset of the method. */
  readonly ensemble?: string;
  readonly weights?: readonly number[];
  /** Labelled examples that no member learned from. */
  readonly heldOut?: string;
}

/**
 * Models that answer together, as one model; tokenizer and names of classes are the first one's.
 * @throws {LfmError} CONFIG_INVALID, SHAPE_MISMATCH for members that do not answer the same questions; CAPABILITY_MISSING
 */
export async function openEnsemble(
  request: EnsembleRequest,
  o: BatchOptions,
  context: MethodContext,
  job: JobContext,
): Promise<NamedModel> {
  const { ensemble: asked = "probabilities", weights, heldOut } = request;
  const mode = modeOf(asked);
  if (request.member.length < 2)
    throw new LfmError("CONFIG_INVALID", "lfm: an ensemble has two members or more", { hint: "--member ./a --member ./b" });
  const learns = mode === "stacking" || (mode === "weighted" && weights === undefined);
  if (learns !== (heldOut !== undefined))
    throw new LfmError(
      "CONFIG_INVALID",
      learns
        ? `lfm: ${asked} learns from labelled examples that no member was trained on`
        : `lfm: with these options an ensemble learns from no examples: --held-out would have no effect`,
      {
        hint: learns ? "--held-out dev.jsonl" : "--ensemble stacking, or weighted without --weights",
      },
    );
  const members: NamedModel[] = [];
  for (const name of request.member) {
    const { base, deltas } = splitDeltas(name);
    members.push({ ...(await resolveModel(base, deltas, job)), name });
  }
  const [first] = members as [NamedModel, ...NamedModel[]];
  const odd = members.find((m) => m.model.info.task !== first.model.info.task);
  if (odd)
    throw new LfmError("CONFIG_INVALID", `lfm: ${first.name} is a ${first.model.info.task}, ${odd.name} a ${odd.model.info.task}`, {
      hint: "members of an ensemble answer the same questions",
    });
  if (taskKind(first.model) === "classification") checkClasses(members);
  else if (learns)
    throw new LfmError("CAPABILITY_MISSING", `lfm: ${asked} is learned for classifiers; ${first.name} is a language model`, {
      hint: "--ensemble weighted --weights 0.5,0.5",
    });
  const inputs = {
    members: members.map((m) => m.model),
    ...(heldOut === undefined ? {} : { heldOut: batches(readExamples(heldOut), first, o) }),
  };
  const { model, weights: used } = await runMethod(ensemble, inputs, { mode, ...(weights ? { weights: [...weights] } : {}) }, context);
  if (learns && mode === "weighted") context.log(`weights: ${used.map((w, i) => `${members[i]!.name} ${w.toFixed(3)}`).join(", ")}`);
  return { ...first, name: `${asked} of ${request.member.join(", ")}`, model, deltas: [] };
}

type Mode = NonNullable<Parameters<typeof ensemble.run>[1]["mode"]>;

function modeOf(asked: string): Mode {
  const modes = ensemble.config.shape.mode.unwrap().options;
  const preset = ensemble.presets?.[asked]?.config.mode;
  const found = preset ?? modes.find((m) => m === asked);
  if (found) return found;
  const names = [...modes, ...Object.keys(ensemble.presets ?? {})];
  const near = nearestName(asked, names);
  throw new LfmError("CONFIG_INVALID", `lfm: members cannot answer by "${asked}"`, {
    hint: near ? `did you mean "${near}"?` : `one of ${names.join(", ")}`,
  });
}

function checkClasses(members: readonly NamedModel[]): void {
  const [first, ...others] = members.map((m) => classNames(m).join(", "));
  const odd = others.findIndex((names) => names !== first);
  if (odd >= 0)
    throw new LfmError("CONFIG_INVALID", `lfm: ${members[0]!.name} answers ${first}; ${members[odd + 1]!.name} answers ${others[odd]}`, {
      hint: "members of an ensemble have the same classes, in the same order",
    });
}

function batches(examples: Examples, m: NamedModel, o: BatchOptions): { input: object; labels: ReturnType<typeof i32> }[] {
  const { texts, labels } = labelledRows(examples, classNames(m));
  const tokenizer = requireTokenizer(m);
  return Array.from({ length: Math.ceil(texts.length / o.batchSize) }, (_, i) => {
    const [from, to] = [i * o.batchSize, (i + 1) * o.batchSize];
    const { tokens, mask } = tokenizer.encodeBatch(texts.slice(from, to), { maxLength: o.maxLength });
    return { input: { tokens, mask }, labels: i32(labels.slice(from, to)) };
  });
}
