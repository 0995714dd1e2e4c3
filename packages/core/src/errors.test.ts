import { describe, expect, it } from "vitest";
import { isLfmError, LfmError, nearestName, throwIfAborted } from "./errors.js";

describe("LfmError", () => {
  const error = new LfmError("SHAPE_MISMATCH", "[@lfm/core] no", { hint: "do this", details: { axis: 1 }, cause: new Error("why") });

  it("carries code, hint, details and cause", () => {
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe("LfmError");
    expect((error.cause as Error).message).toBe("why");
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      code: "SHAPE_MISMATCH",
      message: "[@lfm/core] no",
      details: { axis: 1 },
      hint: "do this",
    });
    expect(new LfmError("INTERNAL", "x").toJSON()).toEqual({ code: "INTERNAL", message: "x", details: {} });
    expect("cause" in new LfmError("INTERNAL", "x")).toBe(false);
  });

  it("is known by its brand, so that another copy of the package knows it too", () => {
    expect(isLfmError(error)).toBe(true);
    expect(isLfmError(error, "SHAPE_MISMATCH")).toBe(true);
    expect(isLfmError(error, "INTERNAL")).toBe(false);
    const foreign = Object.assign(new Error("x"), { code: "ABORTED", [Symbol.for("lfm.error")]: true });
    expect(isLfmError(foreign, "ABORTED")).toBe(true);
    for (const other of [new Error("x"), { code: "INTERNAL" }, null, undefined, "INTERNAL"]) expect(isLfmError(other)).toBe(false);
  });

  it("keeps its brand out of sight", () => {
    expect(Object.keys(error)).not.toContain("lfm.error");
    expect(Object.getOwnPropertySymbols({ ...error })).toEqual([]);
  });
});

describe("throwIfAborted", () => {
  it("throws ABORTED with the reason, and only then", () => {
    const controller = new AbortController();
    throwIfAborted(undefined, "[@lfm/core] step");
    throwIfAborted(controller.signal, "[@lfm/core] step");
    controller.abort("enough");
    try {
      throwIfAborted(controller.signal, "[@lfm/core] step 3");
      expect.unreachable();
    } catch (error) {
      expect(isLfmError(error, "ABORTED") && [error.message, error.cause]).toEqual(["[@lfm/core] step 3: stopped on request", "enough"]);
    }
  });
});

describe("nearestName", () => {
  const names = ["lora", "dora", "adalora", "prefix-tuning", "ia3"];

  it("finds what was meant, or nothing", () => {
    expect(nearestName("Lora", names)).toBe("lora");
    expect(nearestName("prefix-tunning", names)).toBe("prefix-tuning");
    expect(nearestName("adalra", names)).toBe("adalora");
    expect(nearestName("knowledge", names)).toBeUndefined();
    expect(nearestName("x", [])).toBeUndefined();
  });
});
