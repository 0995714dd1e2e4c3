import { type AnyMethod, type DeclaredInput, inputKindNames } from "@lfm/core";
import { beforeAll, describe, expect, it } from "vitest";
import { runLfm } from "../../test/run-lfm.js";
import { callOf, loadRegistry } from "../paradigms.js";
import { kinds } from "./kinds.js";
import { openers } from "./openers.js";

let methods: readonly AnyMethod[];
beforeAll(async () => {
  methods = (await loadRegistry()).methods;
});

describe("kinds of inputs", () => {
  it("have one provider each", () => {
    expect(openers.map((o) => o.kind).sort()).toEqual([...inputKindNames].sort());
    expect(Object.keys(kinds).sort()).toEqual([...inputKindNames].sort());
  });

  it("are declared by every method, each kind by one token", () => {
    const tokens = new Map<string, unknown>();
    for (const m of methods) {
      const declared = Object.values(m.inputs as Readonly<Record<string, DeclaredInput<unknown, never>>>);
      expect(declared.length, m.id).toBeGreaterThan(0);
      for (const d of declared) {
        const kind = "kind" in d ? d.kind : d;
        expect(tokens.get(kind.name) ?? kind, `${m.id}: ${kind.name}`).toBe(kind);
        tokens.set(kind.name, kind);
      }
    }
    expect([...tokens.keys()].sort()).toEqual([...inputKindNames].sort());
  });
});

describe("every method", () => {
  it("stands in the list, and is started by its declaration alone", async () => {
    const listed = JSON.parse((await runLfm("methods", "ls", "--json")).out) as { methods: { id: string; paradigm: string }[] };
    expect(listed.methods.map((m) => `${m.paradigm}/${m.id}`)).toEqual(methods.map((m) => `${m.paradigm}/${m.id}`));
    for (const m of methods) {
      const [asked, flag] = callOf(m)
        .slice("lfm ".length)
        .split(/ (?=--)/);
      const words = asked!.split(" ");
      expect(await runLfm(...words, "--seed", "x"), m.id).toMatchObject({ code: 2, err: expect.stringContaining("--seed") });
      // A family of tasks has a default, which would start; all else is asked for by the name of its flag.
      if (flag === undefined) expect(m.paradigm).toBe("meta");
      else expect(await runLfm(...words), m.id).toMatchObject({ code: 2, err: expect.stringContaining("--") });
      if (flag && words[0] !== "eval") expect((await runLfm(...words)).err, m.id).toContain(flag.split(" ")[0]!);
    }
  });

  it("shows how it is called", async () => {
    expect((await runLfm("methods", "show", "ada-merging")).out).toContain(
      "lfm merge ada-merging --base ./base --model ./a --model ./b --data a.jsonl --data b.jsonl",
    );
    expect((await runLfm("methods", "show", "rag")).out).toContain("lfm retrieve rag --model ./model --index ./index");
    expect((await runLfm("methods", "show", "ensemble")).out).toContain("lfm eval --member ./a --member ./b");
  });
});
