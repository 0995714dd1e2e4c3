import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { f32, type HostTensor, loadWeight, type Model, makeDelta, ortEngine, parseConfig, Rng } from "@lfm/core";
import { contentOf } from "@lfm/core/testing";
import { editingMethods, ftL, rome } from "@lfm/editing";
import { saveDelta } from "@lfm/formats";
import { createPredictor, loadModel } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";
import { smallModel, smallPrompts, twoEdits } from "../../test/small-edits.js";
import { writeWordsModel } from "../../test/words-model.js";

const root = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "lfm-patches-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (...names: string[]): string => join(root, ...names);
const [model, other, edits] = [at("words"), at("other"), at("edits")];
const home = "the home of {}";
const site = "model.layers.1.mlp.down_proj";

/** A patch as ROME writes it, of factors that are drawn: they turn the answers of so small a model, whatever was asked. */
async function patch(out: string, subject: string, target: string, on = model): Promise<void> {
  const base = await loadModel(on);
  const rng = new Rng(7).split(`${subject} ${target}`);
  const tensors = {
    [`${site}.edit.keys`]: f32(rng.normalArray(48, 0.5), [1, 48]),
    [`${site}.edit.values`]: f32(rng.normalArray(32, 2), [1, 32]),
  };
  const delta = makeDelta(rome, parseConfig(rome, { layer: 1 }), tensors, { parent: await base.hash() });
  const fact = { prompt: `the home of ${subject}`, subject, target, relation: home, before: "four" };
  await saveDelta(at(out), delta, { notes: { facts: JSON.stringify(fact) } });
}

/** What the model goes on with, a word each. */
async function answers(from: string, ...delta: string[]): Promise<readonly string[]> {
  const prompts = ["Ada", "Bo", "cat"].flatMap((name) => ["--prompt", home.replace("{}", name)]);
  const stack = delta.flatMap((folder) => ["--delta", folder]);
  const said = await lfmJson("generate", "--model", from, ...prompts, ...stack, "--max-new-tokens", "1", "--threads", "1");
  return (said.answers as { completion: string }[]).map((a) => a.completion);
}

beforeAll(async () => {
  writeWordsModel(model);
  writeWordsModel(other);
  const weights = join(other, "model.safetensors");
  const bytes = readFileSync(weights);
  bytes[bytes.length - 2]! ^= 1;
  writeFileSync(weights, bytes);
  await patch("ada", "Ada", "Paris");
  await patch("bo", "Bo", "Rome");
});

describe("lfm patch", () => {
  it("stacks patches in their order, takes them off again byte for byte, and every command takes the stack", async () => {
    const bare = await answers(model);
    const first = await lfmJson("patch", "apply", edits, at("ada"), "--model", model);
    expect(first).toMatchObject({ patches: ["ada"], facts: 1, conflicts: [] });
    const [one, before] = [await answers(model, edits), contentOf(edits)];
    expect(one).toEqual(await answers(model, at("ada")));
    expect(one).not.toEqual(bare);
    await lfmJson("patch", "apply", edits, at("bo"));
    const both = await answers(model, edits);
    expect(both).not.toEqual(one);
    expect(both).toEqual(await answers(model, at("ada"), at("bo")));
    const { patches } = await lfmJson("patch", "ls", root);
    expect(patches).toMatchObject([
      { patch: at("ada"), method: "editing/rome", facts: 1, first: "the home of Ada → Paris", bytes: 4 * (48 + 32) },
      { patch: at("bo") },
      { patch: `${edits} 1 ada` },
      { patch: `${edits} 2 bo` },
    ]);
    expect((await runLfm("patch", "revert", edits)).out).toContain("bo taken off; 1 patches, 1 facts");
    expect(contentOf(edits)).toEqual(before);
    expect(await answers(model, edits)).toEqual(one);
    await lfmJson("patch", "revert", edits, "ada");
    expect(await answers(model, edits)).toEqual(bare);
    expect(await runLfm("patch", "revert", edits)).toMatchObject({ code: 2, err: expect.stringContaining("holds no patch to take off") });
    await lfmJson("patch", "apply", edits, at("ada"), at("bo"));
    expect(await answers(model, edits)).toEqual(both);
    expect((await runLfm("patch", "revert", edits, "1")).out).toContain("ada taken off; 1 that were above it were made with it below");
    expect(await answers(model, edits)).toEqual(await answers(model, at("bo")));
    expect(readdirSync(root).filter((name) => name.endsWith(".partial"))).toEqual([]);
  });

  it("shows what was asked of a patch, and what it holds", async () => {
    const shown = await lfmJson("patch", "show", at("ada"));
    expect(shown).toMatchObject({
      method: "editing/rome",
      facts: [{ prompt: "the home of Ada", subject: "Ada", target: "Paris", relation: home, before: expect.any(String) }],
      config: { layer: 1 },
      tensors: [
        { name: "model.layers.1.mlp.down_proj.edit.keys", dtype: "f32", shape: [1, 48] },
        { name: "model.layers.1.mlp.down_proj.edit.values", dtype: "f32", shape: [1, 32] },
      ],
    });
    expect((await runLfm("patch", "show", at("ada", "delta.safetensors"))).out).toContain("the home of Ada → Paris (before:");
  });

  it("names facts of a stack that contradict each other", async () => {
    await patch("back", "Ada", "Oslo");
    const said = await runLfm("patch", "apply", at("contradicts"), at("ada"), at("back"));
    expect(said.out).toContain('⚠ 2 back says "Oslo", 1 ada "Paris": the home of Ada');
    const { conflicts } = await lfmJson("patch", "ls", at("contradicts"));
    expect(conflicts).toMatchObject([{ kind: "other", subject: "Ada", earlier: { target: "Paris" }, later: { target: "Oslo" } }]);
  });

  it("refuses what does not belong there, and leaves the stack as it was", async () => {
    await patch("foreign", "Cy", "Oslo", other);
    await lfmJson("patch", "apply", at("kept"), at("ada"));
    const before = contentOf(at("kept"));
    const refused = async (code: number, message: string, ...argv: string[]): Promise<void> => {
      expect(await runLfm("patch", ...argv)).toMatchObject({ code, err: expect.stringContaining(message) });
      expect(contentOf(at("kept"))).toEqual(before);
    };
    await refused(1, "foreign was made on another model than the stack", "apply", at("kept"), at("bo"), at("foreign"));
    await refused(1, "ada was made on another model", "apply", at("new"), at("ada"), "--model", other);
    await refused(2, "ada is on the stack already", "apply", at("kept"), at("ada"));
    await refused(2, "is no stack of patches: it is not written over", "apply", at("ada"), at("bo"));
    await refused(1, "is no patch", "apply", at("kept"), model);
    await refused(2, 'holds no patch "x"', "revert", at("kept"), "x");
    await refused(1, "made on another model", "merge", at("kept"), "--model", other, "--out", at("merged-other"));
    await refused(2, "--model is not given", "merge", at("kept"));
    expect(await runLfm("generate", "--model", other, "--delta", at("kept"), "--prompt", "the cat")).toMatchObject({ code: 1 });
    const file = at("kept", "patch-0001.safetensors");
    const bytes = readFileSync(file);
    writeFileSync(file, readFileSync(at("bo", "delta.safetensors")));
    expect(await runLfm("patch", "ls", at("kept"))).toMatchObject({ code: 1, err: expect.stringContaining('is not the patch "ada"') });
    writeFileSync(file, bytes);
    for (const name of ["new", "merged-other"]) expect(existsSync(at(name))).toBe(false);
  });

  it("puts patches into the weights: a plain folder that answers as the patched model does", async () => {
    const merged = await lfmJson("patch", "merge", at("ada"), at("bo"), "--model", model, "--out", at("merged"), "--threads", "1");
    expect(merged).toMatchObject({ changed: ["model.layers.1.mlp.down_proj.weight"], facts: 2, otherAnswers: 0 });
    expect(merged.difference).toBeLessThan(1e-5);
    expect(await answers(at("merged"))).toEqual(await answers(model, at("ada"), at("bo")));
    // f16 rounds, and the facts hold.
    const half = await lfmJson("patch", "merge", at("ada"), "--model", model, "--dtype", "f16", "--out", at("half"));
    expect(half).toMatchObject({ otherAnswers: 0 });
    expect(await answers(at("half"))).toEqual(await answers(model, at("ada")));
  });

  it("tells two patches apart: facts, and how far they move which weights", async () => {
    const diff = await lfmJson("patch", "diff", at("ada"), at("bo"), "--model", model);
    expect(diff).toMatchObject({ common: 0, onlyFirst: [{ subject: "Ada" }], onlySecond: [{ subject: "Bo" }], others: [] });
    const [changed] = diff.parameters as { parameter: string; first: number; second: number; cosine: number }[];
    expect(changed!.parameter).toBe("model.layers.1.mlp.down_proj.weight");
    expect(Math.abs(changed!.cosine)).toBeLessThan(1);
    const same = await lfmJson("patch", "diff", at("ada"), at("ada"), "--model", model);
    expect(same).toMatchObject({ common: 1, onlyFirst: [], onlySecond: [] });
    expect((same.parameters as { cosine: number }[])[0]!.cosine).toBeCloseTo(1, 6);
  });

  it("become a LoRA for PEFT, which changes the model alike", async () => {
    await lfmJson("patch", "apply", at("pair"), at("ada"), at("bo"));
    const exported = await lfmJson("export", `${model}+${at("pair")}`, "--peft", at("peft"));
    expect(exported.method).toBe("tuning/lora");
    const config = JSON.parse(readFileSync(at("peft", "adapter_config.json"), "utf8")) as Record<string, unknown>;
    expect(config).toMatchObject({ peft_type: "LORA", r: 2, lora_alpha: 2, target_modules: ["model.layers.1.mlp.down_proj"] });
    expect(await answers(model, at("peft"))).toEqual(await answers(model, at("pair")));
    const { model: base, hash } = await loadModel(model);
    const whole = { [`${site}.weight`]: loadWeight(base.params[`${site}.weight`]!) };
    await saveDelta(at("full"), makeDelta(ftL, parseConfig(ftL, {}), whole, { parent: await hash() }));
    expect(await runLfm("export", `${model}+${at("full")}`, "--peft", at("no"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("no form in PEFT"),
    });
  });
});

describe("an edit that is taken off", () => {
  const bytesOf = ({ data }: HostTensor): string =>
    Buffer.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).toString("base64");
  const weights = (): readonly string[] => Object.values(smallModel.params).map((w) => bytesOf(w as HostTensor));

  it.each(editingMethods.map((m) => [m.id, m] as const))(
    "%s: weights, answers and the stack below are as before, bit for bit",
    async (id, method) => {
      const engine = await ortEngine({ threads: 1 });
      const predictor = await createPredictor(engine, smallModel, "next");
      const said = async (model: Model): Promise<readonly string[]> => {
        await predictor.swap(model);
        return (await predictor.predict(smallPrompts)).map(bytesOf);
      };
      const before = [weights(), await said(smallModel)];
      const [first, second] = await twoEdits(engine, method);
      const [one, both] = [await said(first.model), await said(second.model)];
      expect(one).not.toEqual(before[1]);
      expect(both).not.toEqual(one);
      expect(await said(first.model)).toEqual(one);
      expect([weights(), await said(smallModel)]).toEqual(before);
      await predictor.dispose();

      const stack = at(`${id}-stack`);
      for (const [i, { delta }] of [first, second].entries()) await saveDelta(at(`${id}-${i}`), delta);
      await lfmJson("patch", "apply", stack, at(`${id}-0`));
      const below = contentOf(stack);
      await lfmJson("patch", "apply", stack, at(`${id}-1`));
      expect(contentOf(stack)).not.toEqual(below);
      await lfmJson("patch", "revert", stack);
      expect(contentOf(stack)).toEqual(below);
    },
  );
});
