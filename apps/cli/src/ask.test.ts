import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { statement } from "@lfm/data";
import { loadZoo } from "@lfm/models/zoo";
import { beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";
import { writeWordsModel } from "../test/words-model.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-ask-"));
const at = (name: string): string => join(folder, name);
const { world } = await loadZoo();
const [fact, other] = world.strangerFacts.filter((f) => f.relation === "home");
const zoo = (...more: string[]): string[] => [
  ...["--model", "zoo-lm", "--index", at("idx")],
  ...(more.includes("--max-new-tokens") ? [] : ["--max-new-tokens", "1"]),
  ...more,
];

beforeAll(async () => {
  const facts = world.strangerFacts.filter((f) => f.relation === "home").slice(0, 40);
  writeFileSync(
    at("docs.jsonl"),
    facts.map((f) => `${JSON.stringify({ id: f.subject, title: "home", text: statement(world, f, 0).replace(/^home /, "") })}\n`).join(""),
  );
  await lfmJson("index", at("docs.jsonl"), "--analyzer", "words", "--out", at("idx"));
  writeWordsModel(at("words"));
});

describe("lfm ask", () => {
  it("answers from documents what the model alone does not know, and says from which", async () => {
    const told = await lfmJson("ask", `${fact!.subject} lives in`, ...zoo());
    expect(told).toMatchObject({
      answer: fact!.value,
      policy: "always",
      retrievals: 1,
      steps: 1,
      leftOut: 0,
      tokens: 1,
      citations: [{ number: 1, id: fact!.subject, title: "home", named: false, support: 1 }],
    });
    const alone = await lfmJson("ask", `${fact!.subject} lives in`, ...zoo("--policy", "never"));
    expect(alone).toMatchObject({ retrievals: 0, citations: [] });
    expect(alone.answer).not.toBe(fact!.value);
    const { out } = await runLfm("ask", `${fact!.subject} lives in`, ...zoo("--quiet"));
    expect(out).toBe(`${fact!.value}\n\n[1] ${fact!.subject}  home  (100 % of the answer's words)\n`);
  });

  it("looks up where the model is unsure: of strangers, not of those it knows", async () => {
    const known = world.facts.find((f) => f.relation === "home")!;
    const flare = (who: string, ...more: string[]) =>
      lfmJson("ask", `the home of ${who} is`, ...zoo("--policy", "flare", "--max-new-tokens", "2", "--stop", " .", ...more));
    expect(await flare(fact!.subject)).toMatchObject({ retrievals: 1 });
    expect(await flare(known.subject)).toMatchObject({ answer: known.value, retrievals: 0, citations: [] });
    expect(await flare(known.subject, "--theta", "2")).toMatchObject({ retrievals: 1 });
    expect(
      await lfmJson("ask", `the home of ${known.subject} is`, ...zoo("--policy", "each-sentence", "--max-new-tokens", "2", "--stop", " .")),
    ).toMatchObject({
      retrievals: 1,
    });
  });

  it("keeps to its budget: the best passage first, cut where not even it fits", async () => {
    const both = `${fact!.subject} and ${other!.subject}`;
    const told = async (budget: number) => lfmJson("ask", both, ...zoo("--budget", String(budget)));
    const [two, one, none] = [await told(10), await told(5), await told(1)];
    expect(two).toMatchObject({ leftOut: 0, citations: [{ number: 1 }, { number: 2 }] });
    expect(one).toMatchObject({ leftOut: 1, citations: [{ number: 1 }] });
    expect((two.promptTokens as number) - (one.promptTokens as number)).toBeGreaterThan(3);
    expect(none).toMatchObject({ leftOut: 2, citations: [] });
  });

  it("names what is wrong", async () => {
    const ask = async (...argv: string[]) => (await runLfm("ask", ...argv)).err;
    expect(await ask("who", "--model", "zoo-lm")).toMatch(/--index is not given\nhint: .*--policy never/);
    expect(await ask("who", "--index", at("idx"))).toMatch(/--model is not given/);
    expect(await ask("who", ...zoo("--policy", "sometimes"))).toMatch(/Allowed choices are always, never, each-sentence, flare/);
    expect(await ask("who", ...zoo("--beta", "0.1"))).toMatch(/--theta and --beta are flare's/);
    expect(await ask(" ", ...zoo())).toMatch(/nothing is asked/);
    expect(await ask("who", ...zoo("--form", "chat"))).toMatch(/no chat template/);
    expect(await ask("who", "--model", "zoo-lm", "--index", folder)).toMatch(/is no index/);
    const long = Array.from({ length: 70 }, () => "the").join(" ");
    expect(await ask(long, "--model", at("words"), "--index", at("idx"))).toMatch(/reads 64 tokens: the question takes \d+/);
  });
});
