import { f32 } from "@lfm/core";
import { expect, it } from "vitest";
import { episodeOf, pointInputs, scoresOf, tinyContext } from "../../test/tiny-meta.js";
import { r2d2 } from "./r2d2.js";

const head = (ridge: number) => ({ "head.log-ridge": f32([Math.log(ridge)]), "head.scale": f32([1]), "head.shift": f32([0]) });
const episode = episodeOf(
  [
    [[1], 0],
    [[-1], 1],
  ],
  [[1], [3]],
);

it("a hand-worked case: W = XᵀY / (XᵀX + λ)", async () => {
  const close = (found: number[][], want: number[][]): void => {
    for (const [i, v] of found.flat().entries()) expect(v).toBeCloseTo(want.flat()[i]!, 4);
  };
  // XᵀX = 2, XᵀY = (1, −1)
  close(await scoresOf(r2d2, {}, episode, head(2)), [
    [0.25, -0.25],
    [0.75, -0.75],
  ]);
  // Without a ridge half of each label is met (no line through 0 meets both), with a great one nothing is told apart.
  close(await scoresOf(r2d2, {}, episode, head(1e-3)), [
    [1 / 2.001, -1 / 2.001],
    [3 / 2.001, -3 / 2.001],
  ]);
  close(await scoresOf(r2d2, {}, episode, head(1e8)), [
    [0, 0],
    [0, 0],
  ]);
});

it("learns λ, α and β beside the embedding", async () => {
  const { delta } = await r2d2.run(pointInputs(), r2d2.config.parse({ steps: 2 }), tinyContext());
  expect(Object.keys(delta.tensors)).toEqual(["fc1.weight", "fc1.bias", "head.log-ridge", "head.scale", "head.shift"]);
  expect(Number(delta.tensors["head.log-ridge"]!.data[0])).not.toBe(0);
});
