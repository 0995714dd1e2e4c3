import type { Metric, SampleOutput } from "@lfm/core";
import {
  axisScores,
  type EditScores,
  mainProtocol,
  overallScore,
  probeKindIds,
  probeKinds,
  protocolIds,
  protocols,
  type WrongAnswer,
} from "@lfm/editing";

/**
 * Scores of edits as metrics: `KIND.PROTOCOL` each, an axis each, and their mean as `score`. What nothing was asked of has no metric, what was
 * asked and cannot be judged is null.
 */
export function editMetrics(scores: EditScores): Record<string, Metric> {
  const [after, before] = [axisScores(scores), axisScores(scores, "before")];
  const found: Record<string, Metric> = {
    score: points(overallScore(after), "mean of the axes that were measured", overallScore(before)),
  };
  for (const [axis, value] of Object.entries(after)) {
    const kinds = probeKindIds.filter((kind) => probeKinds[kind].axis === axis);
    const main = [...new Set(kinds.map(mainProtocol))].map((id) => protocols[id].about).join("; ");
    const asked = kinds.filter((kind) => scores[kind] !== null);
    if (asked.length > 0) found[axis] = points(value, `mean over ${asked.join(", ")}: ${main}`, before[axis as keyof typeof before]);
  }
  for (const kind of probeKindIds) {
    const score = scores[kind];
    if (score === null) continue;
    for (const id of protocolIds) {
      const { unit, about, named } = protocols[id];
      const note = `${probeKinds[kind].about}: ${about}; elsewhere ${named}`;
      // Before the edit everything is as before.
      const base = id === "unchanged" ? 100 : score.before[id];
      found[`${kind}.${id}`] = { ...points(score.after[id], note, base), unit };
    }
    if (score.known !== null)
      found[`${kind}.known`] = points(100 * score.known, `${probeKinds[kind].about}: answers that the model named before the edit`);
  }
  return found;
}

/** The worst answers, as a report shows them. */
export function wrongOutputs(worst: readonly WrongAnswer[]): readonly SampleOutput[] {
  return worst.map(({ edit, probe, before, after }) => ({
    after: edit,
    about: `${probe.kind}: ${probeKinds[probe.kind].about}`,
    prompt: probe.prompt,
    right: probe.answer,
    said: after,
    before,
  }));
}

/** 0..100. */
export function points(value: number | null, note: string, base?: number | null): Metric {
  return { value, unit: "points", higherIsBetter: true, note, ...(base === undefined || base === null ? {} : { base }) };
}
