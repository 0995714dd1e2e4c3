import { type Claim, number, percent } from "./claim.js";

/** What databases were to show. */
export const retrievalClaims: readonly Claim[] = [
  {
    paradigm: "retrieval",
    suite: "rag-scale",
    what: "a database of 10,000 passages covers what one of 100 does not: answers ≥ 80 %, and the sweet spot is smaller than the largest database",
    judge: (v) => {
      const [accuracy, sweet, ms, largest] = [
        v("rag-scale/bm25", "accuracy"),
        v("rag-scale/bm25", "sweetSpot"),
        v("rag-scale/bm25", "searchMedian"),
        v("rag-scale/bm25", "searchMedianLargest"),
      ];
      const found = `${percent(accuracy)} at ${number(sweet)} passages, ${number(ms)} ms a search; ${number(largest)} ms at 10,000`;
      return { text: found, reached: accuracy >= 0.8 && sweet < 10_000 };
    },
  },
  {
    paradigm: "retrieval",
    suite: "retrieval-quality",
    what: "looking up ≤ 60 % of questions keeps ≥ 97 % of the accuracy of looking up all, and more than at random as often",
    judge: (v) => {
      const cell = "adaptive-retrieval/bm25";
      const [rate, kept, accuracy, random] = ["retrievalRate", "keptOfAlways", "accuracy", "accuracyRandom"].map((m) => v(cell, m));
      return {
        text: `${percent(kept!)} kept with ${percent(rate!)} looked up; ${percent(accuracy!)}, at random ${percent(random!)}`,
        reached: rate! <= 0.6 && kept! >= 0.97 && accuracy! > random!,
      };
    },
  },
  {
    paradigm: "retrieval",
    suite: "retrieval-quality",
    what: "the noise monitor warns where noise hurts and is silent where it does not, in 5 seeds each",
    judge: (v) => {
      const [irrelevant, contradicting] = ["irrelevant-noise/bm25", "contradicting-noise/bm25"];
      const [quiet, loud] = [v(irrelevant, "warned"), v(contradicting, "warned")];
      const right = Math.min(v(irrelevant, "rightlyWarned"), v(contradicting, "rightlyWarned"));
      const said = `warns of ${percent(loud)} of contradicting and ${percent(quiet)} of irrelevant noise`;
      const cost = `which cost ${percent(v(contradicting, "lost"))} and ${percent(v(irrelevant, "lost"))}`;
      return { text: `${said}, ${cost}`, reached: right === 1 };
    },
  },
];
