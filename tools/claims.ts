import { readFileSync } from "node:fs";
import { type Claim, type Measure, number, percent } from "./claim.js";
import { retrievalClaims } from "./claims-retrieval.js";

/** Accuracies of the peers on the same batches from the same start, by `task/method`: docs/peers/minilm-tuning.json. */
function peerAccuracy(row: string): number {
  const rows = JSON.parse(readFileSync(new URL("../docs/peers/minilm-tuning.json", import.meta.url), "utf8")) as Readonly<
    Record<string, { readonly theirs: { readonly accuracy: number } }>
  >;
  const found = rows[row];
  if (!found) throw new Error(`docs/peers/minilm-tuning.json has no row ${row}`);
  return found.theirs.accuracy;
}

/** Methods of tuning-tradeoff that train little. */
const FRUGAL = [
  "lora",
  "lora/dora",
  "adalora",
  "vera",
  "loha",
  "lokr",
  "ia3",
  "ln-tuning",
  "bottleneck/houlsby",
  "compacter",
  "prefix",
  "prompt",
];

export const claims: readonly Claim[] = [
  {
    paradigm: "tuning",
    suite: "standard",
    what: "LoRA within 2 points of full fine-tuning with < 5 % of the parameters",
    judge: (v) => {
      const [lora, full, share] = [v("text-task/lora", "accuracy"), v("text-task/full", "accuracy"), v("text-task/lora", "trainedShare")];
      return {
        text: `LoRA ${percent(lora)}, full ${percent(full)}, ${percent(share)} of the parameters`,
        reached: lora >= full - 0.02 && share < 0.05,
      };
    },
  },
  {
    paradigm: "tuning",
    suite: "standard",
    what: "LoRA forgets less than full fine-tuning",
    judge: (v) => {
      const [lora, full] = [v("text-task/lora", "kept"), v("text-task/full", "kept")];
      return { text: `facts kept: LoRA ${percent(lora)}, full ${percent(full)}`, reached: lora > full };
    },
  },
  {
    paradigm: "tuning",
    suite: "tuning-tradeoff",
    what: "a parameter-efficient method within 1 point of full fine-tuning with < 5 % of the parameters, from 256 sentences and from 16",
    judge: (v) => {
      const [many, few] = ["text-task", "text-task-few"].map((task) => {
        const rival = FRUGAL.map((m) => ({ m, accuracy: v(`${task}/${m}`, "accuracy"), share: v(`${task}/${m}`, "trainedShare") }))
          .filter(({ share }) => share < 0.05)
          .sort((a, b) => b.accuracy - a.accuracy)[0]!;
        return { ...rival, full: v(`${task}/full`, "accuracy") };
      });
      return {
        text: [many!, few!].map(({ m, accuracy, full }) => `${m} ${percent(accuracy)}, full ${percent(full)}`).join("; from 16: "),
        reached: [many!, few!].every(({ accuracy, full }) => accuracy >= full - 0.01),
      };
    },
  },
  {
    paradigm: "tuning",
    suite: "tuning-tradeoff",
    what: "on a base of random weights, methods that train little fall behind full fine-tuning by > 2 points",
    judge: (v) => {
      const of = (method: string): number => v(`text-task-random/${method}`, "accuracy");
      const [full, lora, ia3] = [of("full"), of("lora"), of("ia3")];
      return { text: `full ${percent(full)}, LoRA ${percent(lora)}, IA³ ${percent(ia3)}`, reached: Math.max(lora, ia3) < full - 0.02 };
    },
  },
  {
    paradigm: "distillation",
    suite: "standard",
    what: "KD student > the same student on labels alone",
    judge: (v) => {
      const [kd, labels] = [v("glyphs/logit-kd", "studentAccuracy"), v("glyphs/logit-kd", "labelsOnlyAccuracy")];
      return { text: `${percent(kd)} against ${percent(labels)}`, reached: kd > labels };
    },
  },
  {
    paradigm: "distillation",
    suite: "standard",
    what: "data-free student ≥ 80 % of the teacher's accuracy",
    judge: (v) => {
      const [student, teacher] = [v("glyphs/dafl", "studentAccuracy"), v("glyphs/dafl", "teacherAccuracy")];
      return { text: `${percent(student)} of ${percent(teacher)}: ${percent(student / teacher)}`, reached: student / teacher >= 0.8 };
    },
  },
  {
    paradigm: "reuse",
    suite: "standard",
    what: "on ≥ 4 tasks, mean accuracy: task arithmetic and TIES > average > base",
    judge: (v) => {
      const of = (method: string): number => v(`text-tasks-merge/${method}`, "accuracy");
      const [arithmetic, ties, average, base] = [
        of("task-arithmetic"),
        of("ties"),
        of("average"),
        v("text-tasks-merge/average", "baseAccuracy"),
      ];
      return {
        text: `task arithmetic ${percent(arithmetic)}, TIES ${percent(ties)}, average ${percent(average)}, base ${percent(base)}`,
        reached: Math.min(arithmetic, ties) > average && average > base,
      };
    },
  },
  {
    paradigm: "meta",
    suite: "standard",
    what: "sinusoid, K = 10: MAML's MSE after 5 steps ≤ .35 of a jointly trained net's",
    judge: (v) => {
      const [maml, joint] = [v("sinusoid/maml", "mse"), v("sinusoid/maml", "jointMse")];
      return { text: `${number(maml)} against ${number(joint)}: ${number(maml / joint)}`, reached: maml / joint <= 0.35 };
    },
  },
  {
    paradigm: "editing",
    suite: "standard",
    what: "50 single edits, each from the clean model: ROME efficacy ≥ 95, paraphrase ≥ 80, neighbourhood ≥ 85; patches revert bit for bit",
    judge: (v) => {
      const [e, p, n] = [v("counterfact/rome", "efficacy"), v("counterfact/rome", "paraphrase"), v("counterfact/rome", "neighbourhood")];
      return { text: `efficacy ${number(e)}, paraphrase ${number(p)}, neighbourhood ${number(n)}`, reached: e >= 95 && p >= 80 && n >= 85 };
    },
  },
  {
    paradigm: "editing",
    suite: "editing-claims",
    what: "100 single edits: ROME ES ≥ 99, PS ≥ 90, NS ≥ 90",
    judge: (v) => {
      const [e, p, n] = editSuccess(v, "single-edits/rome/zoo");
      return { text: `ES ${number(e)}, PS ${number(p)}, NS ${number(n)}`, reached: e >= 99 && p >= 90 && n >= 90 };
    },
  },
  {
    paradigm: "editing",
    suite: "editing-claims",
    what: "100 single edits: GRACE ES ≥ 99, NS = 100",
    judge: (v) => {
      const [e, , n] = editSuccess(v, "single-edits/grace");
      return { text: `ES ${number(e)}, NS ${number(n)}`, reached: e >= 99 && n === 100 };
    },
  },
  {
    paradigm: "editing",
    suite: "editing-claims",
    what: "100 single edits: IKE ES ≥ 95, the model believing what it reads",
    judge: (v) => {
      const [e, p] = editSuccess(v, "single-edits/ike/zoo");
      return { text: `ES ${number(e)}, PS ${number(p)}`, reached: e >= 95 };
    },
  },
  {
    paradigm: "editing",
    suite: "editing-claims",
    what: "one batch of 100 edits: MEMIT ES ≥ 97, NS ≥ 90",
    judge: (v) => {
      const [e, p, n] = editSuccess(v, "batch-edits/memit/zoo");
      return { text: `ES ${number(e)}, PS ${number(p)}, NS ${number(n)}`, reached: e >= 97 && n >= 90 };
    },
  },
  {
    paradigm: "editing",
    suite: "editing-claims",
    what: "500 edits in sequence: of all of them, AlphaEdit's model says ≥ 5 points more by itself than MEMIT's",
    judge: (v) => {
      const said = (cell: string): number => v(`sequential-edits/${cell}`, "efficacy.generated");
      const [alpha, plain] = [said("alphaedit"), said("memit/zoo")];
      return { text: `AlphaEdit ${number(alpha)}, MEMIT ${number(plain)}`, reached: alpha >= plain + 5 };
    },
  },
  {
    paradigm: "retrieval",
    suite: "standard",
    what: "questions on entities known only from documents: ≤ 10 % without retrieval, ≥ 80 % with it",
    judge: (v) => {
      const [without, with_] = [v("zoo-documents/rag/plain", "accuracyWithoutPassages"), v("zoo-documents/rag/plain", "accuracy")];
      return { text: `${percent(without)} without, ${percent(with_)} with`, reached: without <= 0.1 && with_ >= 0.8 };
    },
  },
  ...retrievalClaims,
  {
    paradigm: "distillation",
    suite: "real",
    what: "MNIST: data-free student ≥ 95 %",
    judge: (v) => {
      const student = v("mnist-data-free/dafl", "studentAccuracy");
      return { text: percent(student), reached: student >= 0.95 };
    },
  },
  {
    paradigm: "meta",
    suite: "real",
    what: "Omniglot small, unseen alphabets: ProtoNet 5-way 1-shot ≥ .85, 5-shot ≥ .94",
    judge: (v) => {
      const [one, five] = [v("omniglot-5way/protonet", "accuracy1Shot"), v("omniglot-5way/protonet", "accuracy5Shot")];
      return { text: `1-shot ${percent(one)}, 5-shot ${percent(five)}`, reached: one >= 0.85 && five >= 0.94 };
    },
  },
  {
    paradigm: "retrieval",
    suite: "real",
    what: "SciFact: BM25 nDCG@10 within .004 of Anserini's .6789 (published)",
    judge: (v) => {
      const ndcg = v("scifact/bm25", "ndcg@10");
      return { text: number(ndcg), reached: Math.abs(ndcg - 0.6789) <= 0.004 };
    },
  },
  {
    paradigm: "retrieval",
    suite: "real",
    what: "SciFact: dense MiniLM's nDCG@10 within .01 of the same model in transformers",
    judge: (v) => {
      const { figures } = JSON.parse(
        readFileSync(new URL("../packages/retrieval/test/golden/scifact-minilm.json", import.meta.url), "utf8"),
      ) as { readonly figures: { readonly ndcg_cut_10: number } };
      const dense = v("scifact/flat", "ndcg@10");
      return {
        text: `${number(dense)}, transformers ${number(figures.ndcg_cut_10)}`,
        reached: Math.abs(dense - figures.ndcg_cut_10) <= 0.01,
      };
    },
  },
  {
    paradigm: "retrieval",
    suite: "real",
    what: "SciFact: hybrid ≥ BM25 and ≥ dense MiniLM",
    judge: (v) => {
      const [hybrid, bm25, dense] = [v("scifact/hybrid", "ndcg@10"), v("scifact/bm25", "ndcg@10"), v("scifact/flat", "ndcg@10")];
      return { text: `hybrid ${number(hybrid)}, BM25 ${number(bm25)}, dense ${number(dense)}`, reached: hybrid >= Math.max(bm25, dense) };
    },
  },
  {
    paradigm: "tuning",
    suite: "real",
    what: "MiniLM + head on CLINC150 and SST-2, full and LoRA within 1 point of transformers/PEFT with the same settings",
    judge: (v) => {
      const rows = ["clinc150/full", "clinc150/lora", "sst2/full", "sst2/lora"].map((row) => ({
        row,
        ours: v(row, "accuracy"),
        theirs: peerAccuracy(row),
      }));
      return {
        text: rows.map(({ row, ours, theirs }) => `${row} ${percent(ours)} (theirs ${percent(theirs)})`).join(", "),
        reached: rows.every(({ ours, theirs }) => Math.abs(ours - theirs) <= 0.01),
      };
    },
  },
  {
    paradigm: "tuning",
    suite: "real",
    what: "MiniLM + head, bottleneck adapters (Pfeiffer) beside full fine-tuning",
    judge: (v) => {
      const rows = ["clinc150", "sst2"].map(
        (task) => [v(`${task}/bottleneck/pfeiffer`, "accuracy"), v(`${task}/full`, "accuracy")] as const,
      );
      return {
        text: rows.map(([adapter, full], i) => `${["CLINC150", "SST-2"][i]} ${percent(adapter)} against ${percent(full)}`).join(", "),
        reached: rows.every(([adapter, full]) => adapter >= full - 0.05),
      };
    },
  },
  {
    paradigm: "reuse",
    suite: "real-merging",
    what: "four MiniLM fine-tunes (BANKING77, CLINC150, SNIPS, SST-2) merged: task arithmetic and TIES ≥ average > base",
    judge: (v) => {
      const of = (method: string): number => v(`minilm-domains/${method}`, "accuracy");
      const [arithmetic, ties, average, base] = [
        of("task-arithmetic"),
        of("ties"),
        of("average"),
        v("minilm-domains/average", "baseAccuracy"),
      ];
      return {
        text: `task arithmetic ${percent(arithmetic)}, TIES ${percent(ties)}, average ${percent(average)}, base ${percent(base)}`,
        reached: Math.min(arithmetic, ties) >= average && average > base,
      };
    },
  },
  ordering("real-merging", "minilm-domains", "four MiniLM fine-tunes"),
  adaMerging("real-merging", "minilm-domains", "layer-wise", "as published"),
  ordering("reuse", "text-tasks-merge", "four tasks of the zoo's language model"),
  ordering(
    "reuse",
    "text-tasks-merge",
    "four tasks of the zoo's language model, task arithmetic with λ = .3 unchosen",
    "fixedScaleAccuracy",
  ),
  adaMerging("reuse", "text-tasks-merge", "layer-wise", "as published"),
  adaMerging("reuse", "text-tasks-merge", "layer-wise-balanced", "with answers kept apart"),
  {
    paradigm: "reuse",
    suite: "reuse",
    what: "Re-Basin lowers the loss barrier between two independently trained nets by ≥ 90 %",
    judge: (v) => {
      const [before, after, cut] = [
        v("two-glyph-nets/re-basin", "barrierBefore"),
        v("two-glyph-nets/re-basin", "barrierAfter"),
        v("two-glyph-nets/re-basin", "barrierCut"),
      ];
      return { text: `${number(before)} to ${number(after)} nats: ${percent(cut)}`, reached: cut >= 0.9 };
    },
  },
];

/** CounterFact's ES, PS and NS of a cell. */
function editSuccess(value: Measure, cell: string): readonly [number, number, number] {
  const of = (kind: string): number => value(cell, `${kind}.success`);
  return [of("efficacy"), of("paraphrase"), of("same-value")];
}

/** @param scaled metric of task arithmetic, whose λ is chosen on labelled sentences by default */
function ordering(suite: Claim["suite"], scenario: string, of: string, scaled = "accuracy"): Claim {
  return {
    paradigm: "reuse",
    suite,
    what: `mean accuracy, ${of}: RegMean ≥ task arithmetic ≥ average`,
    judge: (v) => {
      const [regmean, average] = [v(`${scenario}/regmean`, "accuracy"), v(`${scenario}/average`, "accuracy")];
      const arithmetic = v(`${scenario}/task-arithmetic`, scaled);
      return {
        text: `RegMean ${percent(regmean)}, task arithmetic ${percent(arithmetic)}, average ${percent(average)}`,
        reached: regmean >= arithmetic && arithmetic >= average,
      };
    },
  };
}

function adaMerging(suite: Claim["suite"], scenario: string, preset: string, how: string): Claim {
  return {
    paradigm: "reuse",
    suite,
    what: `layer-wise AdaMerging, ${how}, ≥ task arithmetic + 3 points (${scenario})`,
    judge: (v) => {
      const [ada, arithmetic] = [v(`${scenario}/ada-merging/${preset}`, "accuracy"), v(`${scenario}/task-arithmetic`, "accuracy")];
      return { text: `${percent(ada)} against ${percent(arithmetic)}`, reached: ada >= arithmetic + 0.03 };
    },
  };
}
