import { describe, expect, it } from "vitest";
import { formatProgress, formatSeconds, ProgressLine } from "./progress.js";

const recorder = (isTTY: boolean): { text: string[]; stream: { isTTY: boolean; columns: number; write: (t: string) => void } } => {
  const text: string[] = [];
  return { text, stream: { isTTY, columns: 60, write: (t) => void text.push(t) } };
};

describe("progress", () => {
  it("shows share, rate, time left and values, cut to the width", () => {
    const line = formatProgress({ phase: "fit", done: 5, total: 10, unit: "step", values: { loss: 0.31234 } }, 2, 100);
    expect(line).toBe("fit ██████████░░░░░░░░░░ 5/10 step  2.0/s  2.5 s left  loss 0.3123");
    expect(formatProgress({ phase: "fit", done: 5, total: 10, unit: "step" }, 2, 30).length).toBeLessThanOrEqual(29);
  });

  it("says durations as people do", () => {
    expect([0.42, 12.4, 75, 7300].map(formatSeconds)).toEqual(["0.4 s", "12 s", "1 min 15 s", "2 h 2 min"]);
  });

  it("rewrites one line on a terminal, at most ten times a second, and takes it away", () => {
    let now = 0;
    const { text, stream } = recorder(true);
    const line = new ProgressLine(stream, () => now);
    for (let i = 1; i <= 100; i++) {
      now += 10;
      line.update({ phase: "fit", done: i, total: 100, unit: "step" });
    }
    expect(text.filter((t) => t.includes("fit")).length).toBeLessThanOrEqual(12);
    expect(text.at(-1)).toBe("\r\u001b[2K");
  });

  it("prints a line per tenth where there is no terminal", () => {
    const { text, stream } = recorder(false);
    const line = new ProgressLine(stream, () => 0);
    for (let i = 1; i <= 1000; i++) line.update({ phase: "fit", done: i, total: 1000, unit: "step" });
    expect(text.length).toBe(11);
    expect(text.every((t) => t.endsWith("\n"))).toBe(true);
  });
});
