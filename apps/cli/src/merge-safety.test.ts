import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { killedAt, simulate } from "@lfm/core/testing";
import { initWeights, llama, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { runLfm } from "../test/run-lfm.js";
import { saveZooTokenizer } from "./inputs/zoo-folder.js";

const scratch = mkdtempSync(join(tmpdir(), "lfm-merge-safety-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (...names: string[]): string => join(scratch, ...names);

/** One model folder for every letter. */
beforeAll(async () => {
  const zoo = await loadZoo();
  const sizes = { hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2 };
  const config = { ...sizes, vocab_size: zoo.world.vocabulary.size };
  for (const [seed, name] of ["a", "b", "c"].entries()) {
    await saveModel(at("models", name), llama(config, initWeights(llama(config).info, { seed })));
    saveZooTokenizer(at("models", name), zoo);
  }
});

let home = "";
let runs = 0;
/** Each test works in a folder of its own, with a, b and c as links: models are only read. */
beforeEach(() => {
  home = at(`home-${++runs}`);
  mkdirSync(home);
  for (const name of ["a", "b", "c"]) symlinkSync(at("models", name), join(home, name));
});
afterEach(() => vi.restoreAllMocks());
const here = (...names: string[]): string => join(home, ...names);
const write = (name: string, text: string): string => {
  mkdirSync(join(here(name), ".."), { recursive: true });
  writeFileSync(here(name), text);
  return here(name);
};
const calledIn = (folder: string): void => void vi.spyOn(process, "cwd").mockReturnValue(folder);
const hashes = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString("base64")]));

const linear = (...models: readonly string[]): string =>
  `merge_method: linear\nmodels:\n${models.map((m) => `  - { model: "${m}", parameters: { weight: 1 } }\n`).join("")}dtype: float32\n`;
const staged = `name: first\n${linear("a", "b")}---\nname: org/second\n${linear("first", "c")}---\n${linear("first", "org/second", "a")}tokenizer_source: a\n`;

describe("stages", () => {
  it.each(["../../../victim/model", "/abs", "a/../../b", "..", "x\\y", "nul"])("are not called %j: a name is no way out", async (name) => {
    mkdirSync(here("victim"));
    const yml = write("deep/er/merge.yml", `name: '${name}'\n${linear(here("a"), here("b"))}---\n${linear("a")}`);
    const { code, err } = await runLfm("merge", yml, here("deep", "out"));
    expect([code, err]).toEqual([2, expect.stringContaining(`merge.yml:1: a stage cannot be called "${name}": that `)]);
    expect(err).toMatch(/hint: name: [\w-]+\n/);
    expect(readdirSync(here("victim"))).toEqual([]);
    expect(readdirSync(here("deep"))).toEqual(["er"]);
  });

  it("leave nothing behind, and take no folder of others", async () => {
    const yml = write("merge.yml", staged);
    expect(await runLfm("merge", yml, here("out"))).toMatchObject({ code: 0 });
    expect(readdirSync(home).sort()).toEqual(["a", "b", "c", "merge.yml", "out"]);
    write("taken.stages/thesis.tex", "years");
    const { code, err } = await runLfm("merge", yml, here("taken"));
    expect([code, err]).toEqual([2, expect.stringContaining('"thesis.tex" in it is of something else')]);
    expect(readFileSync(here("taken.stages/thesis.tex"), "utf8")).toBe("years");
  });

  it("that are finished are taken as they are by --resume, and merged anew where something has changed", async () => {
    const yml = write("merge.yml", staged);
    expect(await runLfm("merge", yml, here("whole"))).toMatchObject({ code: 0 });
    // Killed when the last merge begins.
    await killedDuring(yml, "out.partial");
    const first = here("out.stages/stage-1-first/model.safetensors");
    const before = statSync(first).mtimeMs;
    await killedDuring(yml, "out.partial", "--resume");
    expect(statSync(first).mtimeMs).toBe(before);
    utimesSync(at("models/a/model.safetensors"), 1e9, 1e9);
    await killedDuring(yml, "out.partial", "--resume");
    expect(statSync(first).mtimeMs).not.toBe(before);
    expect(await runLfm("merge", yml, here("out"), "--resume")).toMatchObject({ code: 0 });
    expect(hashes(here("out"))).toEqual(hashes(here("whole")));
    expect(existsSync(here("out.stages"))).toBe(false);
  });

  it("that are killed while the result is given its name: --resume ends with it, and nothing else stays", async () => {
    const yml = write("merge.yml", staged);
    const whole = await simulate(home, undefined, () => mergeHere(yml, here("whole")));
    const first = whole.operations.findIndex((operation) => operation.endsWith("/whole.partial/finished"));
    const named = whole.crashes.filter(({ at }) => at > first);
    expect(named.length).toBeGreaterThan(8);
    for (const crash of named) {
      const run = await simulate(home, crash, () => mergeHere(yml, here("out")));
      const kind = `${run.operations.at(-1)}${crash.half ? ", half" : ""}`;
      const again = await runLfm("merge", yml, here("out"), "--resume", "--threads", "1");
      expect([kind, again.code, again.err.includes("error")]).toEqual([kind, 0, false]);
      expect(hashes(here("out")), kind).toEqual(hashes(here("whole")));
      expect(
        readdirSync(home).filter((name) => name.startsWith("out")),
        kind,
      ).toEqual(["out"]);
      rmSync(here("out"), { recursive: true });
    }
  });

  it("another merge of the same place is not taken for the one that was killed", async () => {
    const [yml, other] = [write("merge.yml", linear("a", "b")), write("other.yml", linear("b", "c"))];
    const { operations } = await simulate(home, undefined, () => mergeHere(yml, here("whole")));
    const at = operations.lastIndexOf("rename /whole") + 1;
    await simulate(home, { at, half: false }, () => mergeHere(yml, here("out")));
    const { code, err } = await runLfm("merge", other, here("out"), "--resume");
    expect([code, err]).toEqual([2, expect.stringContaining("is there already")]);
    expect(await runLfm("merge", yml, here("out"), "--resume")).toMatchObject({ code: 0 });
    expect(hashes(here("out"))).toEqual(hashes(here("whole")));
  });

  /** Runs a merge until it first makes something of this name. */
  async function killedDuring(yml: string, name: string, ...more: string[]): Promise<void> {
    for (let n = 1; ; n++) {
      const last = await killedAt(home, n, "before", () => mergeHere(yml, here("out"), ...more));
      if (!last) throw new Error(`never at ${name}`);
      if (last.path.startsWith(`/${name}`)) return;
    }
  }
});

/** A merge that fails where the program would. */
async function mergeHere(...argv: string[]): Promise<void> {
  const { code, err } = await runLfm("merge", ...argv, "--threads", "1");
  if (code !== 0) throw new Error(err);
}

describe("--overwrite", () => {
  it("does not take a folder with the merge file, a model that is read or other things in it", async () => {
    for (const model of ["a", "b"]) {
      rmSync(here(model));
      mkdirSync(here("all", model), { recursive: true });
      for (const file of readdirSync(at("models", model))) write(`all/${model}/${file}`, readFileSync(at("models", model, file), "utf8"));
      writeFileSync(here("all", model, "model.safetensors"), readFileSync(at("models", model, "model.safetensors")));
    }
    writeFileSync(here("all", "other.safetensors"), readFileSync(at("models/c/model.safetensors")));
    const inside = write("all/merge.yml", linear("a"));
    const beside = write("merge.yml", linear(at("models", "c")));
    const before = readdirSync(here("all"), { recursive: true }).sort();
    // The file lies in the output, an input lies in the output, the output is an input, the output holds other things.
    for (const [yml, out] of [
      [inside, "all"],
      [write("outside.yml", linear("all/a")), "all"],
      [write("outside.yml", linear("all/a")), "all/a"],
      [beside, "all"],
    ] as const) {
      const { code, err } = await runLfm("merge", yml, here(out), "--overwrite");
      expect([code, err], err).toEqual([2, expect.stringMatching(/cannot be replaced|not replaced/)]);
      expect(readdirSync(here("all"), { recursive: true }).sort()).toEqual(before);
    }
  });

  it("into a folder of an input leaves the input as it is", async () => {
    mkdirSync(here("own"));
    for (const file of readdirSync(at("models", "a"))) writeFileSync(here("own", file), readFileSync(at("models", "a", file)));
    const before = hashes(here("own"));
    const yml = write("merge.yml", linear("own", "b"));
    for (const more of [[], ["--overwrite"]]) expect(await runLfm("merge", yml, here("own", "merged"), ...more)).toMatchObject({ code: 0 });
    rmSync(here("own", "merged"), { recursive: true });
    expect(hashes(here("own"))).toEqual(before);
  });

  it("is refused before the first stage is merged", async () => {
    write("out/thesis.tex", "years");
    const { code, err } = await runLfm("merge", write("merge.yml", staged), here("out"), "--overwrite");
    expect([code, err]).toEqual([2, expect.stringContaining("not replaced")]);
    expect(existsSync(here("out.stages"))).toBe(false);
  });
});

describe("a path of a model", () => {
  it("begins where lfm was called or beside the merge file; where both are there, neither is taken in silence", async () => {
    const yml = write("configs/merge.yml", linear("base"));
    calledIn(home);
    const merged = (): Promise<Awaited<ReturnType<typeof runLfm>>> => runLfm("merge", yml, here("out"), "--overwrite");
    expect(await merged()).toMatchObject({ code: 1, err: expect.stringContaining("there is no folder") });
    symlinkSync(at("models/a"), here("configs/base"));
    expect(await merged()).toMatchObject({ code: 0 });
    const ofA = hashes(here("out"))["model.safetensors"];
    symlinkSync(at("models/b"), here("base"));
    const { code, err } = await merged();
    expect([code, err]).toEqual([
      2,
      expect.stringContaining(`model "base" is ${here("base")}, where lfm was called, or ${here("configs/base")}`),
    ]);
    expect(err).toContain(`hint: write the whole path of the one that is meant: model: ${here("configs/base")}`);
    renameSync(here("configs/base"), here("configs/other"));
    expect(await merged()).toMatchObject({ code: 0 });
    expect(hashes(here("out"))["model.safetensors"]).not.toBe(ofA);
    // The same folder by two ways is one.
    rmSync(here("base"));
    symlinkSync(at("models/a"), here("base"));
    renameSync(here("configs/other"), here("configs/base"));
    expect(await merged()).toMatchObject({ code: 0 });
    expect(hashes(here("out"))["model.safetensors"]).toBe(ofA);
  });
});

describe("a file as mergekit 0.1.5 takes it", () => {
  it("is merged with a remark on what has no effect", async () => {
    const yml = write(
      "seed.yml",
      "merge_method: dare_ties\nbase_model: a\nmodels:\n- {model: b, parameters: {weight: 0.5, density: 0.5}}\nparameters: {random_seed: 145, int8_mask: true, normalize: 1.0}\ndtype: float32\nwrite_readme: README.md\n",
    );
    const { code, err } = await runLfm("merge", yml, here("out"));
    expect(code).toBe(0);
    expect(err).toContain("seed.yml:5: random_seed has no effect, as in mergekit; the seed is an option: --seed 0");
    expect(err).toContain("seed.yml:7: write_readme has no effect, as in mergekit");
    const misspelt = write("misspelt.yml", readFileSync(yml, "utf8").replace("density", "densty"));
    expect(await runLfm("merge", misspelt, here("x"))).toMatchObject({ code: 2, err: expect.stringContaining('did you mean "density"?') });
    const partly = write("partly.yml", "merge_method: linear\nmodels:\n- {model: a, layer_range: [0, 1], parameters: {weight: 1}}\n");
    expect(await runLfm("merge", partly, here("x"))).toMatchObject({
      code: 2,
      err: expect.stringContaining('partly.yml:3: under models "a" is taken with all 2 layers, not [0, 1]'),
    });
  });
});

describe("bounds", () => {
  it("threads and memory beyond a machine are refused at once", async () => {
    const yml = write("merge.yml", linear("a"));
    for (const [flag, value, message] of [
      ["--threads", "9999", "9999 threads"],
      ["--max-memory", "1e300", "no number of bytes"],
      ["--max-memory", "1MiB", "too little"],
    ] as const)
      expect(await runLfm("merge", yml, here("out"), flag, value)).toMatchObject({ code: 2, err: expect.stringContaining(message) });
    expect(await runLfm("merge", yml, here("out"), "--max-memory", "1000000GiB")).toMatchObject({ code: 0 });
  });
});
