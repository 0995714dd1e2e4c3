// LoRA on the zoo's language model: learns to tell praise from blame, keeps most of what it knew; without the delta the base is as it was.
import { createEngine, f32, i32, needs, Rng, runMethod } from "@lfm/core";
import { textTasks } from "@lfm/data";
import { answerAccuracy, loadZoo } from "@lfm/models/zoo";
import { languageModelTask } from "@lfm/train";
import { lora } from "@lfm/tuning";

const { lm, lmHash, world } = await loadZoo();
const engine = await createEngine();
const task = textTasks(world, { train: 512, test: 128 }).find((t) => t.id === "mood")!;
const batch = 32;

const learning = languageModelTask("mood", (step) => {
  const items = Array.from({ length: batch }, (_, i) => task.train[(step * batch + i) % task.train.length]!);
  const seq = Math.max(...items.map((item) => item.prompt.length)) + 1;
  const [tokens, weights] = [new Int32Array(batch * seq), new Float32Array(batch * seq)];
  for (const [i, item] of items.entries()) {
    tokens.set([...item.prompt, item.answer], i * seq);
    weights[i * seq + item.prompt.length] = 1; // only the label is learned
  }
  return { tokens: i32(tokens, [batch, seq]), weights: f32(weights, [batch, seq]) };
});

const context = { engine, rng: new Rng(1), access: needs, log: console.log, progress: () => {} };
const { model, delta } = await runMethod(lora, { model: lm, task: learning, parent: lmHash }, { r: 4, steps: 120, lr: 3e-3 }, context);

const questions = task.test.map((item) => ({
  prompt: world.vocabulary.decode(item.prompt.slice(1)),
  answer: world.vocabulary.words[item.answer]!,
}));
const facts = world.facts.slice(0, 200).map((f) => ({ prompt: `${f.relation} ${f.subject}`, answer: f.value }));
console.log(
  "task accuracy:",
  await answerAccuracy(engine, lm, world, questions),
  "→",
  await answerAccuracy(engine, model, world, questions),
);
console.log("facts still known:", await answerAccuracy(engine, model, world, facts));
console.log(
  "trained values:",
  Object.values(delta.tensors).reduce((n, t) => n + t.data.length, 0),
  "made on",
  delta.parent?.slice(0, 12),
);
