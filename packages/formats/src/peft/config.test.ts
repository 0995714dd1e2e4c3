import { describe, expect, it } from "vitest";
import { parsePeftConfig } from "./config.js";

describe("the kind of an adapter", () => {
  it("that is not known is refused by its name, one that is no text without writing it down", () => {
    expect(() => parsePeftConfig("a.json", { peft_type: "NONE" })).toThrow("adapters of type NONE are not read");
    let deep: unknown = "LORA";
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(() => parsePeftConfig("a.json", { peft_type: deep })).toThrow(expect.objectContaining({ code: "FILE_FORMAT" }));
  });
});
