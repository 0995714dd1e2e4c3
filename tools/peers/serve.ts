// Our side of a comparison: prepares a job, then does one repetition per line "run" on stdin.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Engine } from "@lfm/core";

/** One prepared job. */
export interface Prepared {
  /** One repetition; returns what both sides must agree on. Timed by the caller. */
  repeat(): Promise<number>;
  /** Disposed of at the end: that is when a profile is written. */
  readonly engine?: Engine;
  /** What is told at the end beside the peak of memory, which is read before. */
  told?(): Promise<object>;
}

const [name, ...args] = process.argv.slice(2);
const module = (await import(`./ours/${name}.ts`)) as { readonly prepare: (...args: readonly string[]) => Promise<Prepared> };
const job = await module.prepare(...args);
const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const ort = JSON.parse(readFileSync(new URL("../../node_modules/onnxruntime-node/package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
print({ versions: { "onnxruntime-node": ort.version } });
for await (const line of createInterface(process.stdin)) {
  if (line === "end") {
    const peakRssBytes = process.resourceUsage().maxRSS * 1024;
    const told = await job.told?.();
    await job.engine?.dispose();
    print({ peakRssBytes, ...told });
    break;
  }
  const start = performance.now();
  const value = await job.repeat();
  print({ ms: performance.now() - start, value });
}
process.exit(0);
