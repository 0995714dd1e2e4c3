import type { EditRecord } from "./edit-record.js";

/** What is known of a fact when conflicts are looked for. */
export type EditClaim = Pick<EditRecord, "subject" | "target" | "relation"> & {
  /** What was right, or answered, before the edit. */
  readonly truth?: readonly string[];
};

/** Two edits that speak of the same relation of the same subject. */
export interface EditConflict<T extends EditClaim = EditClaim> {
  /**
   * `other`: both give it an answer, and not the same (A→B, then C). `back`: the later one gives it the answer that it had before the first
   * (A→B, then B→A). `again`: both give it the same answer.
   */
  readonly kind: "other" | "back" | "again";
  readonly earlier: T;
  readonly later: T;
}

/**
 * Edits that undo or repeat earlier ones, in their order; the later one counts in the model. What has no known relation conflicts with nothing.
 * Names are compared without case and with single spaces.
 */
export function editConflicts<T extends EditClaim>(edits: readonly T[]): readonly EditConflict<T>[] {
  const claims = new Map<string, T[]>();
  const found: EditConflict<T>[] = [];
  for (const later of edits) {
    if (later.relation === undefined) continue;
    const about = JSON.stringify([plain(later.subject), plain(later.relation)]);
    const before = claims.get(about) ?? [];
    const earlier = before.at(-1);
    if (earlier) found.push({ kind: kindOf(before, later), earlier, later });
    claims.set(about, [...before, later]);
  }
  return found;
}

function kindOf(before: readonly EditClaim[], later: EditClaim): EditConflict["kind"] {
  const target = plain(later.target);
  if (plain(before.at(-1)!.target) === target) return "again";
  const had = [...(before[0]!.truth ?? []), ...before.slice(0, -1).map((e) => e.target)];
  return had.some((text) => plain(text) === target) ? "back" : "other";
}

function plain(text: string): string {
  return text.normalize("NFC").trim().replace(/\s+/g, " ").toLowerCase();
}
