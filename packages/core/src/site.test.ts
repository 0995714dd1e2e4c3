import { describe, expect, it } from "vitest";
import { compile } from "./compile.js";
import { f32 } from "./dtype.js";
import { referenceEngine } from "./engines/reference.js";
import { isLfmError } from "./errors.js";
import { full } from "./ops/index.js";
import { overParts, partsOf, type Site, sizeOfRole } from "./site.js";
import { constant, type Tensor } from "./tensor.js";

const fused: Site = {
  path: "c_attn",
  kind: "linear",
  role: "qkv",
  weight: { name: "w", layout: "in-out", in: 2, out: 6 },
  parts: [
    { role: "q", offset: 0, size: 3 },
    { role: "k", offset: 3, size: 1 },
    { role: "v", offset: 4, size: 2 },
  ],
};
const single: Site = { path: "k_proj", kind: "linear", role: "k", weight: { name: "w", layout: "out-in", in: 2, out: 3 } };

async function vector(x: () => Tensor): Promise<number[]> {
  const run = await compile(referenceEngine(), {}, () => ({ x: x() }));
  const out = await run({});
  await run.dispose();
  return Array.from(out.x.data as Float32Array);
}

describe("parts of a site", () => {
  it("are those of a fused layer, or the layer as one", () => {
    expect(partsOf(fused)).toBe(fused.parts);
    expect(partsOf(single)).toEqual([{ role: "k", offset: 0, size: 3 }]);
    expect(partsOf({ path: "n", kind: "norm" })).toEqual([]);
  });

  it("are filled from vectors of some of them", async () => {
    expect(await vector(() => overParts(fused, { v: full([2], 7) }, 1))).toEqual([1, 1, 1, 1, 7, 7]);
    expect(await vector(() => overParts(fused, { q: full([3], 5), k: full([1], 4) }, 0))).toEqual([5, 5, 5, 4, 0, 0]);
    expect(await vector(() => overParts(single, { k: full([3], 5) }, 1))).toEqual([5, 5, 5]);
  });

  it("of one role may lie apart: head by head", async () => {
    const byHead: Site = {
      ...fused,
      parts: (["q", "k", "v", "q", "k", "v"] as const).map((role, offset) => ({ role, offset, size: 1 })),
    };
    expect(sizeOfRole(byHead, "k")).toBe(2);
    expect(await vector(() => overParts(byHead, { k: constant(f32([7, 8], [2])) }, 1))).toEqual([1, 7, 1, 1, 8, 1]);
  });

  it("refuse a role that is not there and a vector of another size", () => {
    const error = (f: () => unknown): unknown => {
      try {
        return f();
      } catch (e) {
        return e;
      }
    };
    expect(
      isLfmError(
        error(() => overParts(fused, { o: full([3], 1) }, 1)),
        "CONFIG_INVALID",
      ),
    ).toBe(true);
    expect(
      isLfmError(
        error(() => overParts(fused, { k: full([3], 1) }, 1)),
        "SHAPE_MISMATCH",
      ),
    ).toBe(true);
  });
});
