import type { Engine, Model, Retention } from "@lfm/core";
import { type Prompt, type World, zooEvaluation } from "@lfm/data";
import { answerAccuracy, type Zoo } from "@lfm/models/zoo";
import type { CellContext } from "../../scenario.js";

const FACTS = 512;

/** Facts the zoo's language model was trained on, each asked in one form of its training: the same for every cell. */
export function recallPrompts(world: World): readonly Prompt[] {
  return zooEvaluation(world, { perSet: FACTS }).trained;
}

/** Recall of the untouched model, measured once a run. */
function recallBefore(zoo: Zoo, context: Pick<CellContext, "shared" | "engine">): Promise<number> {
  return context.shared(`zoo-lm recall of ${FACTS} facts`, () => recall(context.engine, zoo.lm, zoo.world));
}

/** Share of the facts whose value is the most probable next word, 0..1. */
function recall(engine: Engine, model: Model, world: World, prompts = recallPrompts(world)): Promise<number> {
  return answerAccuracy(engine, model, world, prompts);
}

/** What is left of the trained facts. */
export async function factRetention(zoo: Zoo, model: Model, context: Pick<CellContext, "shared" | "engine">): Promise<Retention> {
  const before = await recallBefore(zoo, context);
  return retentionOf(before, await recall(context.engine, model, zoo.world));
}

export function retentionOf(before: number, after: number): Retention {
  return { of: "recall of trained facts", before, after, kept: after / before };
}
