import { Rng as Random, type Rng } from "@lfm/core";
import { COMPACT } from "./relations.js";
import {
  consequencePrompt,
  heldOutTemplate,
  type Prompt,
  promptFor,
  promptText,
  statement,
  taughtConsequence,
  trainedTemplates,
} from "./statements.js";
import type { Fact, World } from "./world.js";
import { drawPassages, fullStage } from "./zoo-corpus.js";

/** What the zoo's language model is measured on. Every prompt starts with `<bos>`; the answer is the next word. */
export interface ZooEvaluation {
  /** Trained facts in a form they were trained in. */
  readonly trained: readonly Prompt[];
  /** Trained facts in the one form they were never trained in. */
  readonly heldOut: readonly Prompt[];
  /** Questions behind passages about people whose values hold in this prompt only. */
  readonly reading: readonly Prompt[];
  /** The second hop from what a passage says of a person: found by no model that only copies. */
  readonly readingConsequences: readonly Prompt[];
  /** Two hops from a trained person, stated in training. */
  readonly consequences: readonly Prompt[];
  /** Two hops from a trained person that were never stated: right where the model puts two facts together. */
  readonly untaughtConsequences: readonly Prompt[];
  /** True facts of strangers asked without a passage: to be answered no better than by chance. */
  readonly unseen: readonly Prompt[];
  /** The same questions behind the right passage and distractors, in random order. */
  readonly unseenWithPassage: readonly Prompt[];
}

/** Evaluation prompts, `perSet` of each kind (default: all trained facts for the first two, 512 for the others). */
export function zooEvaluation(world: World, options: { readonly seed?: number; readonly perSet?: number } = {}): ZooEvaluation {
  const rng = new Random(options.seed ?? 17).split("zoo-evaluation");
  const facts = options.perSet === undefined ? world.facts : rng.split("facts").sample(world.facts, options.perSet);
  const strange = rng.split("strangers").sample(world.strangerFacts, options.perSet ?? 512);
  const pick = rng.split("forms");
  const hops = world.chains.flatMap((chain) =>
    world.entities.flatMap((subject) =>
      chain.hopTemplates.map((_, template) => ({
        taught: taughtConsequence(world, chain, subject),
        prompt: consequencePrompt(world, chain, subject, template),
      })),
    ),
  );
  const consequences = (taught: boolean): Prompt[] =>
    rng
      .split(`consequences/${taught}`)
      .shuffle(hops.filter((hop) => hop.taught === taught).map((hop) => hop.prompt))
      .slice(0, options.perSet ?? 512);
  return {
    trained: facts.map((fact) => promptFor(world, fact, pick.pick(trainedTemplates(world, fact.subject, fact.relation)))),
    heldOut: facts.map((fact) => promptFor(world, fact, heldOutTemplate(world, fact.subject, fact.relation))),
    reading: Array.from({ length: options.perSet ?? 512 }, (_, i) => readingPrompt(world, rng.split(`reading/${i}`))),
    readingConsequences: Array.from({ length: options.perSet ?? 512 }, (_, i) => readingHop(world, rng.split(`reading-hop/${i}`))),
    consequences: consequences(true),
    untaughtConsequences: consequences(false),
    unseen: strange.map((fact, i) => promptFor(world, fact, anyForm(world, rng.split(`form/${i}`), fact.relation))),
    unseenWithPassage: strange.map((fact, i) => {
      const template = anyForm(world, rng.split(`form/${i}`), fact.relation);
      const draw = rng.split(`distractors/${i}`);
      const others = draw.sample(world.strangerFacts, 12).filter((other) => other.subject !== fact.subject);
      const passages = draw.shuffle([fact, ...others.slice(0, 4)]).map((f) => statement(world, f, COMPACT));
      const prompt = [...passages, promptText(world, fact.relation, template, fact.subject)].join(" ");
      return { prompt, answer: fact.value, fact, template };
    }),
  };
}

/** Three to seven passages about strangers with values drawn afresh, then one question in any form. */
export function readingPrompt(world: World, rng: Rng): Prompt {
  const passages = passagesFor(world, rng);
  const fact = rng.pick(passages);
  const template = anyForm(world, rng, fact.relation);
  return {
    prompt: `${textOf(world, passages)} ${promptText(world, fact.relation, template, fact.subject)}`,
    answer: fact.value,
    fact,
    template,
  };
}

/** The same passages, then a question about what follows from one of them. */
function readingHop(world: World, rng: Rng): Prompt {
  for (;;) {
    const passages = passagesFor(world, rng);
    const { subject, relation, value } = rng.pick(passages);
    const chain = world.chains.find((c) => c.via === relation);
    if (!chain) continue;
    const template = rng.int(chain.hopTemplates.length);
    const fact = { subject, relation: chain.relation.id, value: world.valueOf(value, chain.relation.id) };
    return {
      prompt: `${textOf(world, passages)} ${chain.hopTemplates[template]!.replace("{}", subject)}`,
      answer: fact.value,
      fact,
      template,
    };
  }
}

function passagesFor(world: World, rng: Rng): Fact[] {
  const stage = fullStage(world);
  return drawPassages(world, rng, { ...stage, values: Math.min(30, stage.values) });
}

function textOf(world: World, passages: readonly Fact[]): string {
  return passages.map((passage) => statement(world, passage, COMPACT)).join(" ");
}

function anyForm(world: World, rng: Rng, relation: string): number {
  return rng.int(world.relation(relation).templates.length);
}
