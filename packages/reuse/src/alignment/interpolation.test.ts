import { f32, isLfmError } from "@lfm/core";
import { expect, it } from "vitest";
import { interpolate, interpolationCurve, lossBarrier } from "./interpolation.js";

const a = { w: f32([0, 4]), step: { dtype: "i32", shape: [1], data: Int32Array.of(7) } as const };
const b = { w: f32([2, -4]), step: { dtype: "i32", shape: [1], data: Int32Array.of(9) } as const };

it("hand-worked: ¼ of the way, its ends bit for bit, integers of the first", () => {
  expect(interpolate(a, b, 0.25).w!.data).toEqual(Float32Array.of(0.5, 2));
  expect(interpolate(a, b, 0).w!.data).toEqual(a.w.data);
  expect(interpolate(a, b, 1).w!.data).toEqual(b.w.data);
  expect(interpolate(a, b, 0.9).step!.data).toEqual(Int32Array.of(7));
});

it("a barrier is the height above the line between the ends", async () => {
  // w₀ is 0, 1, 2 at λ = 0, ½, 1. Losses 1, 5, 3: at ½ the line between the ends is at 2, the barrier 5 − 2 = 3.
  const losses = new Map([
    [0, 1],
    [1, 5],
    [2, 3],
  ]);
  const curve = await interpolationCurve(a, b, (w) => losses.get(w.w!.data[0] as number)!, { points: 3 });
  expect(curve).toEqual([
    { lambda: 0, loss: 1 },
    { lambda: 0.5, loss: 5 },
    { lambda: 1, loss: 3 },
  ]);
  expect(lossBarrier(curve)).toEqual({ height: 3, lambda: 0.5 });
  expect(
    lossBarrier([
      { lambda: 0, loss: 4 },
      { lambda: 0.5, loss: 1 },
      { lambda: 1, loss: 2 },
    ]),
  ).toEqual({ height: 0, lambda: 0 });
});

it("refuses models that do not fit and curves without ends", async () => {
  expect(() => interpolate(a, { w: f32([1, 2, 3]), step: b.step }, 0.5)).toThrow(/\[2\] in one model and \[3\]/);
  expect(() => interpolate(a, { w: b.w }, 0.5)).toThrow(/no parameter "step"/);
  expect(() => interpolate({ w: a.w }, b, 0.5)).toThrow(/no parameter "step"/);
  const error = await interpolationCurve(a, b, () => 0, { points: 1 }).catch((e: unknown) => e);
  expect(isLfmError(error, "CONFIG_INVALID")).toBe(true);
  expect(() => lossBarrier([{ lambda: 0.2, loss: 1 }])).toThrow(/from λ = 0/);
});
