/**
 * `npm run peers -- NAME…` (or `all`): ours and theirs side by side in one run.
 * Both processes are started, warmed up, and then asked for one repetition at a time in turn, so that whatever else the machine does hits
 * both alike. Ratio = theirs / ours per pair; the median and the spread are written to docs/peers/NAME.json.
 * The peer's Python is named by LFM_PYTHON (a venv with tools/peers/requirements.txt), default `python3`.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { type PeerJob, peerJobs } from "./jobs.js";
import { mergeMemory } from "./merge/memory.js";
import { mergeParity } from "./merge/parity.js";
import { mergeSpeed } from "./merge/speed.js";
import { spread } from "./merge/whole-command.js";

const root = join(import.meta.dirname, "../..");
const REPETITIONS = Number(process.env.LFM_PEER_REPETITIONS ?? 9);
const THREADS = 2;
/** Spinning threads of one side must have gone to sleep before the other is timed. */
const PAUSE_MS = 400;

interface Ready {
  readonly versions: Readonly<Record<string, string>>;
}
interface Repetition {
  readonly ms: number;
  /** What both must agree on, e.g. the loss after the step. */
  readonly value: number;
}
interface End {
  readonly peakRssBytes: number;
}

class Side {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly lines: AsyncIterator<string>;
  private stderr = "";

  constructor(command: string, args: readonly string[]) {
    this.child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, OMP_NUM_THREADS: String(THREADS), LFM_THREADS: String(THREADS), TOKENIZERS_PARALLELISM: "false" },
    });
    this.child.stderr.on("data", (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString()).slice(-4000);
    });
    const reader: Interface = createInterface(this.child.stdout);
    this.lines = reader[Symbol.asyncIterator]();
  }

  async next<T>(): Promise<T> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`the process ended early:\n${this.stderr}`);
    return JSON.parse(value) as T;
  }

  ask(what: "run" | "end"): void {
    this.child.stdin.write(`${what}\n`);
  }
}

async function compare(name: string, job: PeerJob): Promise<void> {
  const ours = new Side(process.execPath, ["--import", "tsx", "--conditions=@lfm/source", join(import.meta.dirname, "serve.ts"), name]);
  const oursReady = await ours.next<Ready>();
  const theirs = new Side(process.env.LFM_PYTHON ?? "python3", [join(import.meta.dirname, "theirs", job.script), ...job.arguments]);
  const theirsReady = await theirs.next<Ready>();
  const pairs: { ours: Repetition; theirs: Repetition }[] = [];
  for (let i = 0; i < REPETITIONS; i++) {
    const first = i % 2 === 0 ? ours : theirs;
    const second = first === ours ? theirs : ours;
    const results = new Map<Side, Repetition>();
    for (const side of [first, second]) {
      side.ask("run");
      results.set(side, await side.next<Repetition>());
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    pairs.push({ ours: results.get(ours)!, theirs: results.get(theirs)! });
    process.stderr.write(
      `\r${name} ${i + 1}/${REPETITIONS}: ours ${pairs.at(-1)!.ours.ms.toFixed(1)} ms, theirs ${pairs.at(-1)!.theirs.ms.toFixed(1)} ms   `,
    );
  }
  process.stderr.write("\n");
  for (const side of [ours, theirs]) side.ask("end");
  const [oursEnd, theirsEnd] = [await ours.next<End>(), await theirs.next<End>()];
  const ratios = pairs.map((p) => p.theirs.ms / p.ours.ms);
  const difference = Math.max(...pairs.map((p) => Math.abs(p.ours.value - p.theirs.value) / Math.max(1e-9, Math.abs(p.theirs.value))));
  const result = {
    name,
    what: job.what,
    peer: job.peer,
    target: job.target,
    ratio: spread(ratios),
    reached: spread(ratios).median >= job.target,
    oursMs: spread(pairs.map((p) => p.ours.ms)),
    theirsMs: spread(pairs.map((p) => p.theirs.ms)),
    oursPeakRssBytes: oursEnd.peakRssBytes,
    theirsPeakRssBytes: theirsEnd.peakRssBytes,
    agreement:
      job.agreement === null
        ? null
        : { of: job.agreement.of, relative: difference, within: job.agreement.within, holds: difference <= job.agreement.within },
    repetitions: REPETITIONS,
    threads: THREADS,
    versions: { node: process.version, ...oursReady.versions, ...theirsReady.versions },
    machine: { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, memoryBytes: totalmem() },
    date: new Date().toISOString().slice(0, 10),
  };
  mkdirSync(join(root, "docs/peers"), { recursive: true });
  writeFileSync(join(root, "docs/peers", `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
  const mib = (n: number): string => `${(n / 2 ** 20).toFixed(0)} MiB`;
  console.log(
    `${name}: ${result.ratio.median.toFixed(2)}× (${result.ratio.min.toFixed(2)}–${result.ratio.max.toFixed(2)}; target ${job.target}) ours ${result.oursMs.median.toFixed(1)} ms, ${job.peer} ${result.theirsMs.median.toFixed(1)} ms; peak RSS ${mib(oursEnd.peakRssBytes)} against ${mib(theirsEnd.peakRssBytes)}${result.agreement ? `; ${result.agreement.of} agree to ${difference.toExponential(1)}` : ""}`,
  );
  if (result.agreement && !result.agreement.holds)
    throw new Error(
      `${name}: ${result.agreement.of} differ by ${difference}, more than ${result.agreement.within}: the two sides do not do the same work`,
    );
}

/** Comparisons of whole commands; they need the Python of LFM_MERGEKIT_PYTHON (tools/peers/requirements-merge.txt). */
const commandPeers: Readonly<Record<string, () => Promise<void>>> = {
  "merge-parity": mergeParity,
  "merge-speed": () => mergeSpeed(Number(process.env.LFM_PEER_REPETITIONS ?? 5)),
  "merge-memory": mergeMemory,
};

const asked = process.argv.slice(2);
const names = asked.length === 0 || asked[0] === "all" ? Object.keys(peerJobs) : asked;
for (const name of names) {
  if (commandPeers[name]) {
    await commandPeers[name]();
    continue;
  }
  const job = peerJobs[name];
  if (!job) {
    console.error(`no peer job "${name}"; there are: ${[...Object.keys(peerJobs), ...Object.keys(commandPeers)].join(", ")}`);
    process.exit(2);
  }
  await compare(name, job);
}
