import { rmSync, statSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { machine, writeResult } from "../record.js";
import { inScratch, makeModels, mergeOurs, mergeTheirs, versions, writeConfig } from "./sides.js";
import { type CommandRun, runCommand, spread } from "./whole-command.js";

const models = (count: number, parameters: string): string =>
  Array.from({ length: count }, (_, i) => `  - {model: ./model-${i + 1}, parameters: {${parameters}}}`).join("\n");

/** Merges as whole commands, start-up included; `reads` counts passes over one model that the method needs. */
const jobs = [
  { name: "linear", target: 8, reads: 3, yaml: `merge_method: linear\nmodels:\n${models(3, "weight: 0.33")}\ndtype: bfloat16\n` },
  {
    name: "slerp",
    target: 8,
    reads: 4,
    yaml: `merge_method: slerp\nbase_model: ./base\nmodels:\n  - {model: ./base}\n  - {model: ./model-1}\nparameters: {t: 0.4}\ndtype: bfloat16\n`,
  },
  {
    name: "task_arithmetic",
    target: 8,
    reads: 4,
    yaml: `merge_method: task_arithmetic\nbase_model: ./base\nmodels:\n${models(3, "weight: 0.3")}\ndtype: bfloat16\n`,
  },
  {
    name: "ties",
    target: 20,
    reads: 12,
    yaml: `merge_method: ties\nbase_model: ./base\nmodels:\n${models(3, "weight: 0.3, density: 0.5")}\ndtype: bfloat16\n`,
  },
  {
    name: "dare_ties",
    target: 12,
    reads: 8,
    yaml: `merge_method: dare_ties\nbase_model: ./base\nmodels:\n${models(3, "weight: 0.3, density: 0.5")}\ndtype: bfloat16\n`,
  },
] as const;

/** `npm run peers -- merge-speed`: lfm beside mergekit on a Llama of 254 M parameters, three models and a base, warm cache, two threads. */
export async function mergeSpeed(repetitions: number): Promise<void> {
  await inScratch(async (folder) => {
    await makeModels(folder, "llama", "254m", 3, "bfloat16");
    const bytes = statSync(join(folder, "base/model.safetensors")).size;
    const rows: Record<string, unknown> = {};
    const copies: number[] = [];
    for (let i = 0; i < repetitions; i++) copies.push((await copy(folder)).ms);
    const copyMs = spread(copies);
    for (const { name, target, reads, yaml } of jobs) {
      const config = writeConfig(folder, name, yaml);
      const pairs: { readonly ours: CommandRun; readonly theirs: CommandRun }[] = [];
      for (let i = 0; i < repetitions; i++) {
        // Each writes into a folder that is not there: getting rid of an old one is nobody's merge.
        for (const old of ["ours", "theirs"]) rmSync(join(folder, old), { recursive: true, force: true });
        const ours = await mergeOurs(folder, config, "ours");
        const theirs = await mergeTheirs(folder, config, "theirs");
        pairs.push({ ours, theirs });
        process.stderr.write(
          `\r${name} ${i + 1}/${repetitions}: ours ${(ours.ms / 1e3).toFixed(2)} s, mergekit ${(theirs.ms / 1e3).toFixed(2)} s   `,
        );
      }
      process.stderr.write("\n");
      const ratio = spread(pairs.map((p) => p.theirs.ms / p.ours.ms));
      const oursMs = spread(pairs.map((p) => p.ours.ms));
      // A copy reads once and writes once: its rate is what moving bytes through the page cache allows on one thread.
      const limitMs = (copyMs.median * (reads + 1)) / 2 / Math.min(2, cpus().length);
      rows[name] = {
        target,
        ratio,
        reached: ratio.median >= target,
        oursMs,
        theirsMs: spread(pairs.map((p) => p.theirs.ms)),
        oursPeakRssBytes: Math.max(...pairs.map((p) => p.ours.peakRssBytes)),
        theirsPeakRssBytes: Math.max(...pairs.map((p) => p.theirs.peakRssBytes)),
        movedBytes: (reads + 1) * bytes,
        shareOfCopyRate: limitMs / oursMs.median,
      };
      console.log(
        `${name}: ${ratio.median.toFixed(1)}× (${ratio.min.toFixed(1)}–${ratio.max.toFixed(1)}; target ${target}), ${(oursMs.median / 1e3).toFixed(2)} s; moves bytes at ${(100 * (limitMs / oursMs.median)).toFixed(0)} % of the rate of cp on both cores`,
      );
    }
    const passing = writeConfig(folder, "passthrough", "merge_method: passthrough\nmodels: [{model: ./model-1}]\ndtype: bfloat16\n");
    const pairs: { readonly ours: CommandRun; readonly copy: CommandRun }[] = [];
    for (let i = 0; i < repetitions; i++) {
      for (const old of ["ours", "copied"]) rmSync(join(folder, old), { recursive: true, force: true });
      pairs.push({ ours: await mergeOurs(folder, passing, "ours"), copy: await copy(folder) });
    }
    const ratio = spread(pairs.map((p) => p.copy.ms / p.ours.ms));
    rows.passthrough = {
      peer: "cp",
      target: 0.8,
      ratio,
      reached: ratio.median >= 0.8,
      oursMs: spread(pairs.map((p) => p.ours.ms)),
      copyMs,
    };
    console.log(
      `passthrough: ${ratio.median.toFixed(2)}× of cp (target 0.8), ${(spread(pairs.map((p) => p.ours.ms)).median / 1e3).toFixed(2)} s`,
    );
    rows.small = await small(repetitions);
    writeResult("merge-speed", {
      name: "merge-speed",
      what: "merges of a Llama with 254 M parameters in bf16, three models and a base, whole commands, warm cache",
      peer: "mergekit",
      rows,
      repetitions,
      threads: 2,
      versions: await versions(folder),
      machine,
      date: new Date().toISOString().slice(0, 10),
    });
  });
}

/** A merge of 10 MB: what start-up costs. */
async function small(repetitions: number): Promise<object> {
  return inScratch(async (own) => {
    await makeModels(own, "llama", "10mb", 2, "bfloat16");
    const config = writeConfig(own, "small", `merge_method: linear\nmodels:\n${models(2, "weight: 0.5")}\ndtype: bfloat16\n`);
    const runs: CommandRun[] = [];
    for (let i = 0; i < repetitions; i++) runs.push(await mergeOurs(own, config, "ours"));
    const oursMs = spread(runs.map((r) => r.ms));
    console.log(`10 MB: ${oursMs.median.toFixed(0)} ms with start-up (target 1000)`);
    return { targetMs: 1000, oursMs, reached: oursMs.median <= 1000 };
  });
}

/** Bytes are really copied: file systems that could share them must not. */
function copy(folder: string): Promise<CommandRun> {
  return runCommand("bash", ["-c", "mkdir -p copied && cp --reflink=never model-1/* copied/"], folder);
}
