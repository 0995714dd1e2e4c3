import { describe, expect, it } from "vitest";
import { runLfm } from "../../test/run-lfm.js";

const tune = ["tune", "lora", "--model", "zoo-lm", "--data", "none.jsonl"];
const complaint = async (...argv: string[]): Promise<string> => {
  const { code, err } = await runLfm(...argv);
  expect(code, err).toBe(2);
  return err;
};

describe("a flag that is given twice", () => {
  it("is refused where it has one value: of schemas, of inputs, of commands", async () => {
    expect(await complaint(...tune, "--lr", "1", "--lr", "2")).toContain("--lr 1 and --lr 2 are both given; --lr has one value");
    expect(await complaint(...tune, "--data", "b.jsonl")).toContain("--data none.jsonl and --data b.jsonl are both given");
    expect(await complaint(...tune, "--seed", "1", "--seed", "1")).toContain("--seed 1 is given twice");
    expect(await complaint(...tune, "--use-rslora", "--no-use-rslora")).toContain("--use-rslora and --no-use-rslora are both given");
    expect(await complaint("generate", "--model", "a", "--model", "b", "--prompt", "x")).toContain(
      "--model a and --model b are both given",
    );
    expect(await complaint("merge", "linear", "--out", "a", "--out", "b")).toContain("--out a and --out b are both given");
    expect(await complaint("task-vector", "negate", "--scale", "1", "--scale", "2")).toContain("--scale 1 and --scale 2 are both given");
    expect(await complaint(...tune, "there", "--out", "here")).toContain("there and --out here are both given");
    expect(await complaint("merge", "linear", "there", "--out", "here", "--model", "a")).toContain("there and --out here are both given");
  });

  it("is collected where it is a list", async () => {
    // They get as far as the file that is not there.
    for (const several of [
      ["--target-modules", "q", "--target-modules", "v"],
      ["--from", "a"],
    ])
      expect((await runLfm(...tune, ...several)).err).not.toContain("both given");
    expect((await runLfm("generate", "--model", "zoo-lm", "--prompt", "a", "--prompt", "b", "--max-new-tokens", "1", "--json")).code).toBe(
      0,
    );
  });
});

describe("what is wrong with an option", () => {
  it("is said by the flag", async () => {
    const wrong = await complaint(...tune, "--lora-alpha", "-1", "--r", "0.5");
    expect(wrong).toMatch(/lora: --r: .*; --lora-alpha: /);
    expect(wrong).not.toMatch(/loraAlpha|→|✖/);
    expect(wrong).toContain("hint: lfm methods show lora");
  });
});
