import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { isDeltaFolder } from "@lfm/formats";
import type { JobResult } from "../program/job.js";
import { formatBytes, formatTable } from "../render/table.js";
import { conflictLine, conflictsOf, type Patch, type PatchedFact, placedFacts, readPatch, type SaidConflict } from "./patch.js";
import { isStack, patchesIn } from "./stack.js";

/** A patch as a list shows it. */
interface Listed {
  /** Its folder, or its stack with its number there. */
  readonly patch: string;
  readonly method: string;
  readonly facts: number;
  readonly first: string;
  readonly bytes: number;
  readonly parent: string | null;
}

/** `lfm patch ls`. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function listPatches(paths: readonly string[]): JobResult {
  const found = paths.flatMap(placesIn).flatMap((place) => {
    const all = patchesIn(place);
    return all.map(({ name, path }, i) => ({ place, name: isStack(place) ? `${place} ${i + 1} ${name}` : place, patch: readPatch(path) }));
  });
  const rows = found.map(({ name, patch }): Listed => {
    const [fact] = patch.facts;
    return {
      patch: name,
      method: patch.method,
      facts: patch.facts.length,
      first: fact ? sentence(fact) : "",
      bytes: bytesOf(patch),
      parent: patch.parent,
    };
  });
  const conflicts = conflictsIn(found);
  return {
    value: { patches: rows, conflicts },
    text:
      rows.length === 0
        ? `no patches in ${paths.join(", ")}`
        : [
            formatTable(rows, [
              { title: "patch", value: (r) => r.patch },
              { title: "method", value: (r) => r.method },
              { title: "facts", value: (r) => String(r.facts), align: "right" },
              { title: "size", value: (r) => formatBytes(r.bytes), align: "right" },
              { title: "model", value: (r) => r.parent?.slice(0, 12) ?? "–" },
              { title: "first fact", value: (r) => r.first },
            ]),
            ...conflicts.map(conflictLine),
          ].join("\n"),
  };
}

/** Patches that are no stack lie beside each other: only facts of one stack, or of one patch, can contradict each other. */
function conflictsIn(found: readonly { readonly place: string; readonly name: string; readonly patch: Patch }[]): readonly SaidConflict[] {
  return [...new Set(found.map((f) => f.place))].flatMap((place) =>
    conflictsOf(found.filter((f) => f.place === place).flatMap(({ name, patch }) => placedFacts(name, patch.facts))),
  );
}

/** Patches and stacks at a path: itself, or those that lie in it. @throws {LfmError} FILE_IO */
function placesIn(path: string): readonly string[] {
  if (!existsSync(path)) throw new LfmError("FILE_IO", `lfm: ${path} is not there`);
  if (!statSync(path).isDirectory() || isPlace(path)) return [path];
  return readdirSync(path)
    .sort()
    .map((name) => join(path, name))
    .filter(isPlace);
}

function isPlace(folder: string): boolean {
  return isDeltaFolder(folder) || isStack(folder);
}

/** `lfm patch show`. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function showPatch(folder: string): JobResult {
  const patch = readPatch(folder);
  const tensors = Object.entries(patch.tensors).map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const { method, parent, config, facts } = patch;
  const conflicts = conflictsOf(placedFacts(folder, facts));
  return {
    value: { patch: folder, method, parent, config, facts, tensors, bytes: bytesOf(patch), conflicts },
    text: [
      `${folder}: ${method}, ${facts.length} facts, ${formatBytes(bytesOf(patch))}`,
      `on the model ${parent ?? "(not recorded)"}`,
      `options: ${Object.entries(config)
        .map(([key, value]) => `${key} ${JSON.stringify(value)}`)
        .join(", ")}`,
      ...facts.map((fact) => `  ${sentence(fact)}${fact.before === undefined ? "" : ` (before: ${fact.before})`}`),
      ...tensors.map(({ name, dtype, shape }) => `  ${name}: ${dtype}[${shape.join(", ")}]`),
      ...conflicts.map(conflictLine),
    ].join("\n"),
  };
}

/** The Eiffel Tower is in the city of → Rome */
export function sentence({ prompt, target }: PatchedFact): string {
  return `${prompt} → ${target.trim()}`;
}

function bytesOf({ tensors }: Patch): number {
  return Object.values(tensors).reduce((n, { file }) => n + file.bytes, 0);
}
