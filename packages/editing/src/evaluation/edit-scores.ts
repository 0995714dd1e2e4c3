import { type EditAxis, type EditProbe, type ProbeKindId, probeKindIds, probeKinds } from "./probes.js";
import { knewAnswer, mainProtocol, type ProbeReading, type ProtocolId, protocolIds, protocols, scoreProbe } from "./protocols.js";

/** Means over edits; each edit counts once, however many questions it has. null where no question supports it. */
export interface KindScore {
  /** Questions that were asked. */
  readonly probes: number;
  /** Share of them whose answer before the edit the model named; null where none says what that was. */
  readonly known: number | null;
  /** In the protocols' units: points of 0..100, or a difference of likelihoods. */
  readonly after: Readonly<Record<ProtocolId, number | null>>;
  readonly before: Readonly<Record<ProtocolId, number | null>>;
}

/** null for a kind that no question is of: it was not measured. */
export type EditScores = Readonly<Record<ProbeKindId, KindScore | null>>;

/** A question that the edit got wrong, in words. */
export interface WrongAnswer {
  readonly edit: string;
  readonly probe: EditProbe;
  readonly before: string;
  readonly after: string;
  /** log p per token of the right answer: the lower, the further off. */
  readonly logProb: number;
}

type Sums = Map<string, { sum: number; edits: number }>;

/** Takes the answers to edits one after the other. */
export class EditTally {
  private readonly sums: Sums = new Map();
  private readonly counts = new Map<ProbeKindId, number>();
  private readonly wrong: WrongAnswer[] = [];
  private readonly keep: number;

  /** @param keep wrong answers to remember, the worst ones */
  constructor(keep = 3) {
    this.keep = keep;
  }

  /** The questions of one edit with what the model answered before and after. @param edit what was written, in words */
  add(edit: string, probes: readonly EditProbe[], before: readonly ProbeReading[], after: readonly ProbeReading[]): void {
    for (const kind of probeKindIds) {
      const own = probes.flatMap((probe, i) => (probe.kind === kind ? [i] : []));
      if (own.length === 0) continue;
      this.counts.set(kind, (this.counts.get(kind) ?? 0) + own.length);
      const post = own.map((i) => scoreProbe(probes[i]!, after[i]!, before[i]!));
      const pre = own.map((i) => scoreProbe(probes[i]!, before[i]!));
      for (const id of protocolIds) {
        this.take(`${kind} after ${id}`, meanOf(post.map((s) => s[id])));
        this.take(`${kind} before ${id}`, meanOf(pre.map((s) => s[id])));
      }
      this.take(`${kind} known`, meanOf(own.map((i) => knewAnswer(probes[i]!, before[i]!))));
    }
    for (const [i, probe] of probes.entries()) this.judge(edit, probe, before[i]!, after[i]!);
  }

  scores(): EditScores {
    const mean = (name: string, unit: number): number | null => {
      const found = this.sums.get(name);
      return found ? (unit * found.sum) / found.edits : null;
    };
    const all = (kind: ProbeKindId, when: string): KindScore["after"] =>
      record(protocolIds, (id) => mean(`${kind} ${when} ${id}`, protocols[id].unit === "points" ? 100 : 1));
    return record(probeKindIds, (kind) => {
      const probes = this.counts.get(kind);
      if (probes === undefined) return null;
      return { probes, known: mean(`${kind} known`, 1), after: all(kind, "after"), before: all(kind, "before") };
    });
  }

  /** Wrong answers, those furthest from the right one first; one of each kind of question before a second of any. */
  worst(): readonly WrongAnswer[] {
    const seen = new Set<ProbeKindId>();
    const sorted = [...this.wrong].sort((a, b) => a.logProb - b.logProb);
    const first = sorted.filter(({ probe }) => !seen.has(probe.kind) && seen.add(probe.kind));
    return [...first, ...sorted.filter((w) => !first.includes(w))].slice(0, this.keep);
  }

  private take(name: string, value: number | null): void {
    if (value === null) return;
    const there = this.sums.get(name) ?? { sum: 0, edits: 0 };
    this.sums.set(name, { sum: there.sum + value, edits: there.edits + 1 });
  }

  /** What an edit should have brought and did not, or took along though the model had it right. */
  private judge(edit: string, probe: EditProbe, before: ProbeReading, after: ProbeReading): void {
    const isNew = probeKinds[probe.kind].expects === "new";
    if (scoreProbe(probe, after).exact === 1 || (!isNew && knewAnswer(probe, before) !== true)) return;
    const logProb = after.answer.logProbs.reduce((a, b) => a + b, 0) / after.answer.logProbs.length;
    this.wrong.push({ edit, probe, before: before.generated?.text ?? "", after: after.generated?.text ?? "", logProb });
    const perKind = this.wrong.filter((w) => w.probe.kind === probe.kind).sort((a, b) => a.logProb - b.logProb);
    const over = perKind[this.keep];
    if (over) this.wrong.splice(this.wrong.indexOf(over), 1);
  }
}

/**
 * One number an axis: the mean of its kinds by their main protocols; null for an axis that nothing was asked of.
 * The mean over axes says how good an edit is all in all: an axis counts once, whatever number of questions it has.
 */
export function axisScores(scores: EditScores, when: "after" | "before" = "after"): Readonly<Record<EditAxis, number | null>> {
  return record(["efficacy", "generalisation", "portability", "locality"] as const, (axis) =>
    meanOf(
      probeKindIds.flatMap((kind) => {
        const score = scores[kind];
        if (probeKinds[kind].axis !== axis || score === null) return [];
        // Before the edit everything is as before.
        return [when === "before" && mainProtocol(kind) === "unchanged" ? 100 : score[when][mainProtocol(kind)]];
      }),
    ),
  );
}

/** The mean over the axes that were measured; null where none was. */
export function overallScore(axes: Readonly<Record<EditAxis, number | null>>): number | null {
  return meanOf(Object.values(axes));
}

function meanOf(values: readonly (number | boolean | null)[]): number | null {
  const taken = values.flatMap((v) => (v === null ? [] : [Number(v)]));
  return taken.length === 0 ? null : taken.reduce((a, b) => a + b, 0) / taken.length;
}

function record<K extends string, V>(keys: readonly K[], value: (key: K) => V): Readonly<Record<K, V>> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>;
}
