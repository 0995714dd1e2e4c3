import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { addSchemaFlags, givenOptions, schemaFlags } from "./schema-flags.js";

const schema = z.strictObject({
  loraAlpha: z.number().default(8).describe("scale"),
  useRslora: z.boolean().default(false).describe("rank-stabilised"),
  normalize: z.boolean().default(true).describe("divide"),
  targetModules: z.array(z.string()).default(["all-linear"]).describe("layers"),
  weights: z.array(z.number()).optional().describe("weights"),
  mode: z.enum(["a", "b"]).default("a").describe("mode"),
  scale: z
    .union([z.number(), z.array(z.number())])
    .optional()
    .describe("one or several"),
});
const parse = (...argv: string[]): Record<string, unknown> => {
  const command = addSchemaFlags(new Command("x").exitOverride().configureOutput({ writeErr: () => {} }), schema);
  command.parse(argv, { from: "user" });
  return givenOptions(command, schema);
};

describe("flags from schemas", () => {
  it("has a flag for every option, with kind, default and description", () => {
    expect(schemaFlags(schema).map((f) => [f.flag, f.kind, f.default])).toEqual([
      ["--lora-alpha", "number", 8],
      ["--use-rslora", "boolean", false],
      ["--normalize", "boolean", true],
      ["--target-modules", "list", ["all-linear"]],
      ["--weights", "list", undefined],
      ["--mode", "string", "a"],
      ["--scale", "one-or-list", undefined],
    ]);
    expect(schemaFlags(schema)[5]!.description).toContain("a | b");
  });

  it("hands on only what was given, under the keys of the config", () => {
    expect(parse()).toEqual({});
    expect(parse("--lora-alpha", "16", "--use-rslora", "--target-modules", "q,v", "--weights", "1,.5")).toEqual({
      loraAlpha: 16,
      useRslora: true,
      targetModules: ["q", "v"],
      weights: [1, 0.5],
    });
    expect(parse("--no-normalize", "--mode", "b")).toEqual({ normalize: false, mode: "b" });
  });

  it("collects lists that are given several times", () => {
    expect(parse("--target-modules", "q", "--target-modules", "v,o", "--weights", "1", "--weights", "2")).toEqual({
      targetModules: ["q", "v", "o"],
      weights: [1, 2],
    });
    expect(parse("--scale", "2")).toEqual({ scale: 2 });
    expect(parse("--scale", "2", "--scale", "3")).toEqual({ scale: [2, 3] });
  });

  it("refuses what is no number and what it does not know", () => {
    expect(() => parse("--lora-alpha", "high")).toThrow("must be a number");
    expect(() => parse("--lora-alpa", "1")).toThrow("--lora-alpha");
  });

  it("shares a flag that the command has already", () => {
    const command = new Command("x").exitOverride().option("--lora-alpha <n>", "of the command", Number);
    addSchemaFlags(command, schema).parse(["--lora-alpha", "4"], { from: "user" });
    expect(givenOptions(command, schema)).toEqual({ loraAlpha: 4 });
  });
});
