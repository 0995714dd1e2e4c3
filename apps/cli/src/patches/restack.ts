import { existsSync, readdirSync, statSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { loadDelta } from "@lfm/formats";
import { openPlain } from "../inputs/models.js";
import { withResult } from "../outputs/result-folder.js";
import { loadRegistry } from "../paradigms.js";
import type { JobContext, JobResult } from "../program/job.js";
import { conflictLine, conflictsOf, placedFacts, readPatch } from "./patch.js";
import { isStack, patchesIn, readStack, type Stack, type StackedPatch, writeStack } from "./stack.js";

interface ApplyRequest {
  readonly stack: string;
  readonly patches: readonly string[];
  readonly model?: string;
}

/**
 * `lfm patch apply`: all of the patches, or none.
 * @throws {LfmError} PARENT_MISMATCH for a patch of another model than those below it; CONFIG_INVALID for a place that holds something else, and
 *   a patch that is on the stack already; FILE_IO, FILE_FORMAT
 */
export async function applyPatches({ stack: folder, patches, model }: ApplyRequest, job: JobContext): Promise<JobResult> {
  const below = openStack(folder);
  const added = patches.flatMap(patchesOf);
  const parent = await commonParent(added, below.parent, model, job);
  const registry = await loadRegistry();
  for (const { path } of added) await loadDelta(path, registry);
  const twice = added.find(({ sha256 }, i) => [...below.patches, ...added.slice(0, i)].some((p) => p.sha256 === sha256));
  if (twice) throw new LfmError("CONFIG_INVALID", `lfm: ${twice.name} is on the stack already`, { hint: `lfm patch ls ${folder}` });
  return restack(folder, { parent, patches: [...below.patches, ...added] }, patches, `${added.length} on top`);
}

/**
 * `lfm patch revert`: without the topmost patch, or the one that is named.
 * @throws {LfmError} CONFIG_INVALID for an empty stack, and a name that is not there or stands for several; FILE_IO, FILE_FORMAT
 */
export async function revertPatch(folder: string, which: string | undefined): Promise<JobResult> {
  const stack = readStack(folder);
  const place = placeOf(folder, stack, which);
  const gone = stack.patches[place]!;
  const patches = stack.patches.filter((_, i) => i !== place);
  const above = stack.patches.length - 1 - place;
  const note = above > 0 ? `; ${above} that were above it were made with it below` : "";
  return restack(folder, { ...stack, patches }, [], `${gone.name} taken off${note}`);
}

async function restack(folder: string, stack: Stack, inputs: readonly string[], what: string): Promise<JobResult> {
  await withResult(folder, { overwrite: true, inputs }, ({ finish }) => finish((at) => writeStack(at, stack)));
  const { patches, parent } = readStack(folder);
  const facts = patches.flatMap(({ name, path }, i) => placedFacts(`${i + 1} ${name}`, readPatch(path).facts));
  const conflicts = conflictsOf(facts);
  return {
    value: { stack: folder, parent, patches: patches.map((p) => p.name), facts: facts.length, conflicts },
    text: [
      `${folder}: ${what}; ${patches.length} patches, ${facts.length} facts`,
      ...conflicts.map(conflictLine),
      ...(patches.length > 0 ? [`use it with --delta ${folder}`] : []),
    ].join("\n"),
  };
}

/** What lies there already; nothing where nothing does. @throws {LfmError} CONFIG_INVALID for something else; FILE_FORMAT */
function openStack(folder: string): Stack {
  if (isStack(folder)) return readStack(folder);
  if (!existsSync(folder) || (statSync(folder).isDirectory() && readdirSync(folder).length === 0)) return { parent: null, patches: [] };
  throw new LfmError("CONFIG_INVALID", `lfm: ${folder} is no stack of patches: it is not written over`, {
    hint: "the stack comes first, then what is put on it: lfm patch apply edits PATCH",
  });
}

/** @throws {LfmError} FILE_FORMAT for what is no delta of lfm */
function patchesOf(path: string): readonly StackedPatch[] {
  const patches = patchesIn(path);
  if (patches.length > 0 || isStack(path)) return patches;
  throw new LfmError("FILE_FORMAT", `lfm: ${path} is no patch: it holds neither a delta of lfm nor a stack of them`, {
    hint: "lfm edit … --out PATCH writes one",
  });
}

/** The model that all of them lie on. @throws {LfmError} PARENT_MISMATCH */
async function commonParent(
  patches: readonly StackedPatch[],
  below: string | null,
  model: string | undefined,
  job: JobContext,
): Promise<string | null> {
  const given = model === undefined ? undefined : await (await openPlain(model, job)).hash();
  let [parent, from] = given === undefined ? [below, "the stack"] : [given, model!];
  for (const own of [
    { name: "the stack", parent: below },
    ...patches.map(({ name, path }) => ({ name, parent: readPatch(path).parent })),
  ]) {
    if (own.parent === null) continue;
    if (parent !== null && parent !== own.parent)
      throw new LfmError(
        "PARENT_MISMATCH",
        `lfm: ${own.name} was made on another model than ${from} (${own.parent.slice(0, 12)}…, not ${parent.slice(0, 12)}…)`,
        { hint: "a stack holds patches of one model: begin another one for it", details: { parent: own.parent, given: parent } },
      );
    if (parent === null) [parent, from] = [own.parent, own.name];
  }
  return parent;
}

/** @throws {LfmError} CONFIG_INVALID */
function placeOf(folder: string, { patches }: Stack, which: string | undefined): number {
  if (patches.length === 0) throw new LfmError("CONFIG_INVALID", `lfm: ${folder} holds no patch to take off`);
  if (which === undefined) return patches.length - 1;
  const named = patches.flatMap(({ name }, i) => (name === which ? [i] : []));
  const places = named.length > 0 ? named : patches.flatMap((_, i) => (String(i + 1) === which ? [i] : []));
  if (places.length === 1) return places[0]!;
  const what = places.length === 0 ? "no patch" : `${places.length} patches called`;
  throw new LfmError("CONFIG_INVALID", `lfm: ${folder} holds ${what} ${JSON.stringify(which)}`, {
    hint: `by number: ${patches.map(({ name }, i) => `${i + 1} ${name}`).join(", ")}`,
  });
}
