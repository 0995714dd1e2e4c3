import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync, truncateSync } from "node:fs";
import { writeTextFile } from "@lfm/formats";
import { identitySchema, type MergeIdentity } from "./merge-identity.js";

/**
 * What a merge is and how far it came: a line that identifies it, then one with the index of each tensor that is whole.
 * It stands on the disk only when the files it speaks of are there with their headers.
 */
export interface Journal {
  readonly identity: MergeIdentity;
  /** Tensors that need not be merged again. */
  readonly done: ReadonlySet<number>;
}

/** Begins a journal, in one step: half of one has never its name. */
export function beginJournal(path: string, identity: MergeIdentity): void {
  writeTextFile(path, `${JSON.stringify(identity)}\n`);
}

/** The journal that a stopped merge left; undefined where there is none that can be read, so that the merge begins anew. */
export function readJournal(path: string): Journal | undefined {
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path);
  const [first, ...lines] = text.subarray(0, soundBytes(text)).toString().split("\n");
  const identity = identitySchema.safeParse(parsed(first ?? ""));
  if (!identity.success) return undefined;
  return {
    identity: identity.data,
    done: new Set(lines.map((line) => Number.parseInt(line, 10)).filter((tensor, i) => `${lines[i]}\n` === lineOf(tensor))),
  };
}

/** Cuts off what was being written when the process ended: another line behind it would make a third of the two. */
export function mendJournal(path: string): void {
  const text = readFileSync(path);
  if (soundBytes(text) < text.length) truncateSync(path, soundBytes(text));
}

/** Notes a tensor whose bytes are all written. Lines are short: appending them is atomic, from any thread. */
export function noteDone(path: string, tensor: number): void {
  appendFileSync(path, lineOf(tensor));
}

/** The number twice, the second time under a hash: a disk that lost a bit of it must not name another tensor. */
function lineOf(tensor: number): string {
  return `+${tensor} ${createHash("sha256").update(String(tensor)).digest("hex").slice(0, 8)}\n`;
}

function soundBytes(text: Buffer): number {
  return text.lastIndexOf("\n") + 1;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // no journal of this program, which is an answer
    return undefined;
  }
}
