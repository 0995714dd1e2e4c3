import { expect, it, vi } from "vitest";
import { compile } from "../compile.js";
import { f32 } from "../dtype.js";
import { add, mul } from "../ops/index.js";
import { loadOrt, ortEngine } from "./ort.js";

const ort = await loadOrt();
const vector = { x: { dtype: "f32", shape: [3] } } as const;
const plus = (weight: number[]) => async (engine: Awaited<ReturnType<typeof ortEngine>>) => {
  const run = await compile(engine, vector, ({ x }, { w }) => add(x, w), { frozen: { w: f32(weight) } });
  const y = await run({ x: f32([1, 2, 3]) });
  await run.dispose();
  return [...y.data];
};

/** Sessions that are opened while something is done. */
async function opened(what: () => Promise<unknown>): Promise<number> {
  const create = vi.spyOn(ort.InferenceSession, "create");
  await what();
  const { length } = create.mock.calls;
  create.mockRestore();
  return length;
}

it("a small graph that is compiled again opens no session again; one on other weights does", async () => {
  const engine = await ortEngine({ threads: 1 });
  expect(await opened(async () => expect(await plus([1, 1, 1])(engine)).toEqual([2, 3, 4]))).toBe(1);
  expect(await opened(async () => expect(await plus([1, 1, 1])(engine)).toEqual([2, 3, 4]))).toBe(0);
  expect(await opened(async () => expect(await plus([2, 2, 2])(engine)).toEqual([3, 4, 5]))).toBe(1);
  await engine.dispose();
  const other = await ortEngine({ threads: 1 });
  expect(await opened(() => plus([1, 1, 1])(other))).toBe(1);
  await other.dispose();
});

it("a session rests for one user at a time, and neither large graphs nor those that were fed much rest", async () => {
  const engine = await ortEngine({ threads: 1 });
  // What is open under one structure is shared, and rests after its last user.
  const twice = () => compile(engine, vector, ({ x }) => mul(x, 2));
  expect(
    await opened(async () => {
      const [a, b] = [await twice(), await twice()];
      await a.dispose();
      expect([...(await b({ x: f32([1, 2, 3]) })).data]).toEqual([2, 4, 6]);
      await b.dispose();
      await (await twice()).dispose();
    }),
  ).toBe(1);
  const large = new Float32Array(70_000).fill(1);
  const weighted = () =>
    compile(engine, { x: { dtype: "f32", shape: [70_000] } } as const, ({ x }, { w }) => add(x, w), { frozen: { w: f32(large) } });
  expect(await opened(async () => (await weighted()).dispose())).toBe(1);
  expect(await opened(async () => (await weighted()).dispose())).toBe(1);
  const wide = async () => {
    const run = await compile(engine, { x: { dtype: "f32", shape: [300_000] } } as const, ({ x }) => mul(x, 3));
    await run({ x: f32(new Float32Array(300_000)) });
    await run.dispose();
  };
  expect([await opened(wide), await opened(wide)]).toEqual([1, 1]);
  await engine.dispose();
});

it("at most 32 rest, those released last; none after the engine's end", async () => {
  const engine = await ortEngine({ threads: 1 });
  const times = (k: number) => async () => (await compile(engine, vector, ({ x }) => mul(x, k))).dispose();
  for (let k = 1; k <= 33; k++) await times(k)();
  expect([await opened(times(33)), await opened(times(2)), await opened(times(1))]).toEqual([0, 0, 1]);
  const run = await compile(engine, vector, ({ x }) => mul(x, 2));
  await engine.dispose();
  await expect(run({ x: f32([1, 2, 3]) })).rejects.toThrow("disposed");
});
