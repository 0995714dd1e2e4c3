import { add, type DeltaForm, f32, type HostTensor, isLfmError, makeDelta, matmul, Rng, referenceEngine } from "@lfm/core";
import { convnet, initWeights } from "@lfm/models";
import { arrayClassification } from "@lfm/train";
import { expect, it } from "vitest";
import { learnedAnswerer } from "../src/define-meta-method.js";
import type { Episode } from "../src/inputs.js";
import { maml } from "../src/methods/maml.js";
import { metaSgd } from "../src/methods/meta-sgd.js";
import { throughBytes } from "./through-bytes.js";
import { lineEpisodes, lineInputs, tinyContext } from "./tiny-meta.js";

/** W + BA at the first layer, as LoRA has it. */
const lowRank: DeltaForm<object> = {
  hooks: (_c, { a, b }) => [{ matches: (site) => site.path === "fc1", weight: (w) => add(w, matmul(b!, a!)) }],
};
const start = makeDelta({ id: "low-rank", paradigm: "tuning", delta: lowRank }, {}, { a: f32([0.5], [1, 1]), b: f32([0, 0, 0], [3, 1]) });
const options = { steps: 2, innerSteps: 2, innerLr: 0.1, metaLr: 0.05 };

it.each([maml, metaSgd] as const)(
  "$id over a delta: its matrices and the last layer learn, the weights stay; read again it answers alike",
  async (method) => {
    const inputs = { ...lineInputs(), start };
    const config = method.config.parse(options);
    const { delta, predict } = await method.run(inputs, config, tinyContext());
    expect(Object.keys(delta.tensors).filter((n) => !n.startsWith("inner."))).toEqual([
      "fc2.weight",
      "fc2.bias",
      "members.0.a",
      "members.0.b",
    ]);
    expect(delta.tensors["members.0.b"]!.data).not.toEqual(start.tensors.b!.data);
    const episodes = lineEpisodes(11, 3);
    const said = await predict(episodes);
    const member = { ...start, tensors: throughBytes({ a: delta.tensors["members.0.a"]!, b: delta.tensors["members.0.b"]! }) };
    const own = throughBytes(Object.fromEntries(Object.entries(delta.tensors).filter(([n]) => !n.startsWith("members."))));
    const again = learnedAnswerer(method, makeDelta(method, config, own, { members: [member] }), inputs);
    expect(await again(episodes, { engine: referenceEngine() })).toEqual(said);
    // What the inner loop moves is not kept.
    expect(await predict(episodes)).toEqual(said);
  },
);

it("refuses what another method learned", async () => {
  const { delta } = await maml.run(lineInputs(), maml.config.parse(options), tinyContext());
  expect(() => learnedAnswerer(metaSgd, delta, lineInputs())).toThrow(/meta\/maml/);
});

it("an inner loop that leaves the numbers names task and step, in training and in answering", async () => {
  const inputs = lineInputs();
  // The loss is ∞ − ∞ from the second step on, and in the second task alone.
  const wild = (e: Episode): Episode => ({ ...e, support: { ...e.support, y: f32(new Float32Array(3).fill(3e19), [3, 1]) } });
  const [first, second] = lineEpisodes(1);
  const caught = async (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => "finished",
      (e: unknown) => e,
    );
  const training = await caught(
    maml.run({ ...inputs, episodes: () => [first!, wild(second!)] }, maml.config.parse({ ...options, innerSteps: 3 }), tinyContext()),
  );
  expect(isLfmError(training, "NUMERIC_DIVERGED") && training.details).toMatchObject({ task: 1 });
  expect(String(training)).toMatch(/task 1 .* step \d of its inner loop/);
  const learned = await maml.run(inputs, maml.config.parse({ ...options, evalSteps: 3 }), tinyContext());
  const answering = await caught(learned.predict([first!, first!, wild(second!)]));
  expect(isLfmError(answering, "NUMERIC_DIVERGED") && answering.details).toMatchObject({ task: 2 });
});

it("norm: by the support's statistics a query is answered alone, by those of the set at hand together with the others", async () => {
  const shape = { image_size: 4, widths: [2], classes: 2 };
  const model = convnet(shape, initWeights(convnet(shape).info, { seed: 4 }));
  const rng = new Rng(3);
  const draw = (n: number): Episode["support"] => ({
    x: f32(rng.normalArray(n * 16), [n, 1, 4, 4]),
    labels: { dtype: "i32", shape: [n], data: Int32Array.from({ length: n }, (_, i) => i % 2) },
  });
  const episode = { support: draw(4), query: draw(4) };
  const inputs = { model, task: arrayClassification("shapes", "pixels", [1, 4, 4]), ways: 2, episodes: () => [episode] };
  const other = draw(4);
  /** The same first query among others. */
  const mixed = { ...episode, query: { ...other, x: withFirst(other.x!, episode.query.x!) } };
  const first = async (norm: "support" | "transductive" | "none"): Promise<{ alike: boolean; answer: number[] }> => {
    const { predict, norm: said } = await maml.run(inputs, maml.config.parse({ steps: 1, norm, innerLr: 0.1 }), tinyContext());
    expect(said).toBe(norm);
    const [one, two] = await predict([episode, mixed]);
    const row = (t: HostTensor): number[] => Array.from(t.data.slice(0, 2), Number);
    return { alike: row(one!).every((v, i) => Math.abs(v - row(two!)[i]!) < 1e-6), answer: row(one!) };
  };
  const [support, together, none] = [await first("support"), await first("transductive"), await first("none")];
  expect([support.alike, together.alike, none.alike]).toEqual([true, false, true]);
  expect(support.answer).not.toEqual(none.answer);
  const { norm } = await maml.run(lineInputs(), maml.config.parse({ steps: 1 }), tinyContext());
  // Without batch norm nothing leaks.
  expect(norm).toBe("none");
});

function withFirst(all: HostTensor, one: HostTensor): HostTensor {
  const data = Float32Array.from(all.data as Float32Array);
  data.set((one.data as Float32Array).subarray(0, 16));
  return { ...all, data };
}
