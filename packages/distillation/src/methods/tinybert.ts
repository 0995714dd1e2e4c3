/**
 * TinyBERT (arXiv 1909.10351): embeddings and hidden states through learned matrices, attention scores as they are, each layer of the student from the
 * layer of the teacher that its map names; the answers besides, where asked.
 */
import { add, LfmError, type Model, mul, type Site } from "@lfm/core";
import { z } from "zod";
import { defineTeaching } from "../define-teaching.js";
import { attentionScoreLoss, type Projected } from "../losses/attention-scores.js";
import { hintLoss } from "../losses/hint.js";
import { type PlacePair, pairPlaces } from "../places.js";
import { projectionSites, roleOf } from "../projections.js";
import { freshRegressors, regress } from "../regressors.js";
import type { Side } from "../teaching.js";
import { answerFields, layerFields, teachingFields } from "../teaching-options.js";

const config = z.strictObject({
  hidden: z.number().min(0).default(1).describe("weight of hidden states and embeddings, each layer's"),
  attention: z.number().min(0).default(1).describe("weight of attention scores, each layer's"),
  ...layerFields,
  ...answerFields,
  labels: z.number().min(0).default(0).describe("weight of the labels' cross entropy"),
  temperature: z.number().positive().default(1).describe("softening T of both distributions in kd"),
  ...teachingFields,
});

export const tinybert = defineTeaching({
  id: "tinybert",
  summary: "Embeddings, hidden states and attention scores of each layer become those of a layer of the teacher.",
  paper: {
    title: "TinyBERT: Distilling BERT for Natural Language Understanding",
    arxiv: "1909.10351",
    year: 2019,
    survey: "4 model distillation (baseline)",
  },
  needs: ["weights", "grad", "activations"],
  config,
  presets: { answers: { summary: "the paper's second phase: the teacher's answers alone", config: { hidden: 0, attention: 0, kd: 1 } } },
  compares: (c) => (c.kd > 0 ? "answers" : "features"),
  teaching: (c) => c,
  lesson: ({ teacher, student, task }, c, rng) => {
    const blocks = pairPlaces(student, teacher, c.layers, "every");
    const states = c.hidden > 0 ? [{ student: embeddingOf(student), teacher: embeddingOf(teacher) }, ...blocks] : [];
    const scores = c.attention > 0 ? blocks.map((p) => attentionOf(p, teacher, student)) : [];
    const sitesOf = (side: "teacher" | "student"): readonly string[] => [
      ...states.map((p) => p[side].path),
      ...scores.flatMap((p) => [p[side].q.path, p[side].k.path]),
    ];
    return {
      labels: c.labels,
      soft: { weight: c.kd, temperature: c.temperature },
      places: { student: sitesOf("student"), teacher: sitesOf("teacher") },
      learned: freshRegressors(states, { teacher, student, task }, rng),
      terms: (seen) => {
        const hidden = states.map((p, i) =>
          hintLoss(seen.teacher.at(p.teacher.path), regress(seen.student.at(p.student.path), seen.own, i), seen.positions?.weights),
        );
        const attention = scores.map((p) =>
          attentionScoreLoss(projected(seen.teacher, p.teacher), projected(seen.student, p.student), seen.positions),
        );
        return {
          terms: {
            ...(hidden.length > 0 ? { hidden: mul(hidden.reduce(add), c.hidden) } : {}),
            ...(attention.length > 0 ? { attention: mul(attention.reduce(add), c.attention) } : {}),
          },
        };
      },
    };
  },
});

interface QueriesKeys {
  readonly q: Site;
  readonly k: Site;
  readonly heads: number;
}

/** What goes into the first block: embedded tokens, normalised where the model does. */
function embeddingOf({ info }: Model): Site {
  const first = info.sites.findIndex((s) => s.kind === "block");
  const before = info.sites.slice(0, Math.max(0, first)).findLast((s) => s.kind === "norm" || s.kind === "embedding");
  if (before) return before;
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] tinybert compares blocks behind embeddings; ${info.architecture} has none`, {
    hint: "choose a method that compares layers of any kind: fitnets",
  });
}

/** @throws {LfmError} CONFIG_INVALID for blocks with other numbers of heads */
function attentionOf(
  { student, teacher }: PlacePair,
  ofTeacher: Model,
  ofStudent: Model,
): Readonly<Record<"teacher" | "student", QueriesKeys>> {
  const of = (model: Model, site: Site): QueriesKeys => {
    const { q, k } = projectionSites(model, site.layer ?? -1);
    const { heads = 0, kvHeads = 0 } = model.info.sites.find((s) => s.kind === "scores" && s.layer === site.layer)?.attention ?? {};
    if (heads === kvHeads) return { q, k, heads };
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/distillation] tinybert: "${site.path}" has ${heads} heads of queries and ${kvHeads} of keys`,
      {
        hint: "--attention 0, or the method minilm",
      },
    );
  };
  const pair = { teacher: of(ofTeacher, teacher), student: of(ofStudent, student) };
  if (pair.teacher.heads === pair.student.heads) return pair;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/distillation] tinybert compares head by head: "${teacher.path}" has ${pair.teacher.heads} heads, "${student.path}" ${pair.student.heads}`,
    { hint: "--attention 0, or the method minilm" },
  );
}

function projected(side: Side, { q, k, heads }: QueriesKeys): Projected {
  return { q: roleOf(side.at(q.path), q, "q"), k: roleOf(side.at(k.path), k, "k"), heads };
}
