import { learnerInput, type Model, type Provider, parameterNamesInput, parentInput, provider } from "@lfm/core";
import { type LearningTask, taskInput } from "@lfm/train";

/**
 * What a scenario provides where one model is to learn one task.
 * @param parent hash of the model
 * @param alsoTrain parameters that learn in full beside the method's own: a fresh head
 */
export function learns(model: Model, task: LearningTask, parent: string, alsoTrain?: readonly string[]): readonly Provider[] {
  return [
    provider(learnerInput, () => model),
    provider(taskInput, () => task),
    provider(parentInput, () => parent),
    provider(parameterNamesInput, () => alsoTrain),
  ];
}
