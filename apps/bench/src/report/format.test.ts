import { describe, expect, it } from "vitest";
import { formatBytes, formatCount, formatMs, formatStat, formatValue, spell } from "./format.js";

describe("format", () => {
  it("spells names of metrics and tasks", () => {
    expect(["answerAccuracy", "accuracy5Shot", "nDCG@10", "glyphs-few-shot", "bm25"].map(spell)).toEqual([
      "answer accuracy",
      "accuracy 5 shot",
      "nDCG@10",
      "glyphs few shot",
      "bm25",
    ]);
  });

  it("gives sizes their prefix, without 1000 k or 1024 KiB", () => {
    expect([0, 999, 999.7, 1234, 999_999, 1_050_000].map(formatCount)).toEqual(["0", "999", "1 k", "1.2 k", "1 M", "1.1 M"]);
    expect([512, 1536, 2 ** 20 - 1, 3e9].map(formatBytes)).toEqual(["512 B", "1.5 KiB", "1 MiB", "2.8 GiB"]);
    expect([0.5, 12, 1500, 61_000, 180_000].map(formatMs)).toEqual(["0.50 ms", "12 ms", "1.50 s", "61.0 s", "3 min 0 s"]);
  });

  it("shows fractions as percent, deviations where there are any, and what was not run", () => {
    expect(formatStat({ mean: 0.912, sd: 0.004, n: 3 }, "fraction")).toBe("91.2 % ± 0.4");
    expect(formatStat({ mean: 0.912, sd: null, n: 1 }, "fraction")).toBe("91.2 %");
    expect(formatStat({ mean: null, sd: null, n: 0 }, "fraction")).toBe("not run");
    expect(formatStat({ mean: 160 * 2 ** 20, sd: 2.5 * 2 ** 20, n: 3 }, "bytes")).toBe("160 MiB ± 2.5 MiB");
    expect(formatStat({ mean: 2 ** 28, sd: 0, n: 3 }, "bytes")).toBe("256 MiB");
    expect(formatValue(0.21, "mse")).toBe("0.210");
    expect(formatValue(2.5, "nats")).toBe("2.50 nats");
  });
});
