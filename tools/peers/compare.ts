import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PeerJob } from "./jobs.js";
import { makeModel } from "./made-model.js";
import { spread } from "./merge/whole-command.js";
import { plainMatmulMs } from "./plain-matmul.js";
import { gigaFlops, productShare, readProfile, type StepProfile } from "./profile.js";
import { machine, writeResult } from "./record.js";
import { type Ready, type Repetition, Side, THREADS } from "./side.js";

const REPETITIONS = Number(process.env.LFM_PEER_REPETITIONS ?? 9);
/** Spinning threads of one side must have gone to sleep before the next is timed. */
const PAUSE_MS = 400;
/** Runs at the front of a profile that warm up. */
const WARM_UP = 3;
/** Products below this share of a step's time are not measured alone. */
const SMALL = 0.01;

/** Runs our side, the peer and, where it has one, the peer in bf16 in turn; writes what came out to docs/peers. @throws {Error} when they do different work */
export async function compare(name: string, job: PeerJob): Promise<void> {
  const sides: Side[] = [];
  const model = job.model && makeModel(job.model);
  const env = model === undefined ? {} : { LFM_PEER_MODEL: model };
  try {
    const ready: Ready[] = [];
    const open = async (side: Side): Promise<Side> => {
      sides.push(side);
      ready.push(await side.next<Ready>());
      return side;
    };
    const ours = await open(Side.ours(job.ours ?? [name], env));
    const theirs = await open(Side.theirs(job.script, job.arguments, env));
    const bf16 = job.bf16 ? await open(Side.theirs(job.script, job.arguments, { ...env, LFM_PEER_BF16: "1" })) : undefined;
    const rounds = await interleave(name, ours, theirs, bf16);
    const [oursEnd, theirsEnd] = [await ours.end(), await theirs.end()];
    const bf16End = await bf16?.end();
    const step = job.unprofiled ? undefined : await profileOf(job.ours ?? [name], env);
    const ratio = spread(rounds.map((r) => r.theirs.ms / r.ours.ms));
    const difference = Math.max(...rounds.map((r) => Math.abs(r.ours.value - r.theirs.value) / Math.max(1e-9, Math.abs(r.theirs.value))));
    const agreement = job.agreement && {
      of: job.agreement.of,
      relative: difference,
      within: job.agreement.within,
      holds: difference <= job.agreement.within,
    };
    writeResult(name, {
      name,
      what: job.what,
      peer: job.peer,
      target: job.target,
      ratio,
      reached: ratio.median >= job.target,
      oursMs: spread(rounds.map((r) => r.ours.ms)),
      theirsMs: spread(rounds.map((r) => r.theirs.ms)),
      oursPeakRssBytes: oursEnd.peakRssBytes,
      theirsPeakRssBytes: theirsEnd.peakRssBytes,
      bf16: bf16End && {
        peer: `${job.peer} in bf16 autocast`,
        ratio: spread(rounds.map((r) => r.bf16!.ms / r.ours.ms)),
        theirsMs: spread(rounds.map((r) => r.bf16!.ms)),
        theirsPeakRssBytes: bf16End.peakRssBytes,
      },
      ourStep: step,
      agreement,
      repetitions: REPETITIONS,
      threads: THREADS,
      versions: Object.assign({ node: process.version }, ...ready.map((r) => r.versions)) as Record<string, string>,
      machine,
      date: new Date().toISOString().slice(0, 10),
    });
    const mib = (n: number): string => `${(n / 2 ** 20).toFixed(0)} MiB`;
    const median = (ms: readonly number[]): string => `${spread(ms).median.toFixed(1)} ms`;
    console.log(
      `${name}: ${ratio.median.toFixed(2)}× (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}; target ${job.target}) ours ${median(rounds.map((r) => r.ours.ms))}, ${job.peer} ${median(rounds.map((r) => r.theirs.ms))}${bf16 ? `, in bf16 ${median(rounds.map((r) => r.bf16!.ms))}` : ""}; peak RSS ${mib(oursEnd.peakRssBytes)} against ${mib(theirsEnd.peakRssBytes)}${step ? `; products ${(100 * step.productShare).toFixed(0)} % of our step at ${step.gflops.toFixed(0)} GFLOP/s, ${(100 * step.ofPlain).toFixed(0)} % of their rate alone` : ""}${agreement ? `; ${agreement.of} agree to ${difference.toExponential(1)}` : ""}`,
    );
    if (agreement && !agreement.holds)
      throw new Error(
        `${name}: ${agreement.of} differ by ${difference}, more than ${agreement.within}: the two sides do not do the same work`,
      );
  } finally {
    for (const side of sides) side.stop();
    if (model !== undefined) rmSync(model, { recursive: true, force: true });
  }
}

interface Round {
  readonly ours: Repetition;
  readonly theirs: Repetition;
  readonly bf16: Repetition | undefined;
}

/** One repetition of each at a time, the first in turn, so that whatever else the machine does hits all alike. */
async function interleave(name: string, ours: Side, theirs: Side, bf16: Side | undefined): Promise<Round[]> {
  const rounds: Round[] = [];
  for (let i = 0; i < REPETITIONS; i++) {
    const order = i % 2 === 0 ? [ours, theirs] : [theirs, ours];
    if (bf16) order.push(bf16);
    const results = new Map<Side, Repetition>();
    for (const side of order) {
      results.set(side, await side.repeat());
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    const round = { ours: results.get(ours)!, theirs: results.get(theirs)!, bf16: bf16 && results.get(bf16) };
    rounds.push(round);
    process.stderr.write(
      `\r${name} ${i + 1}/${REPETITIONS}: ours ${round.ours.ms.toFixed(1)} ms, theirs ${round.theirs.ms.toFixed(1)} ms   `,
    );
  }
  process.stderr.write("\n");
  return rounds;
}

interface StepRecord {
  /** Time in products as a share of all operations. */
  readonly productShare: number;
  /** Time in ONNX Runtime's fused attention, whose products cannot be told from its softmax, as a share. */
  readonly attentionShare: number;
  /** Rate of the products inside the step. */
  readonly gflops: number;
  /** That rate as a share of what the same products reach alone, in this run. */
  readonly ofPlain: number;
}

/** A run of our side alone that says where its time goes. */
async function profileOf(job: readonly string[], env: Readonly<Record<string, string>>): Promise<StepRecord> {
  const folder = mkdtempSync(join(tmpdir(), "lfm-profile-"));
  try {
    const side = Side.ours(job, { ...env, LFM_PROFILE: join(folder, "p") });
    try {
      await side.next<Ready>();
      for (let i = 0; i < REPETITIONS; i++) await side.repeat();
      await side.end();
    } finally {
      side.stop();
    }
    const files = readdirSync(folder).map((file) => join(folder, file));
    const [largest] = files.sort((a, b) => statSync(b).size - statSync(a).size);
    return await record(await readProfile(largest!, WARM_UP));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function record(profile: StepProfile): Promise<StepRecord> {
  const products = profile.products.filter((p) => p.ms >= SMALL * profile.ms);
  const own = products.reduce((sum, p) => sum + p.ms, 0);
  let alone = 0;
  for (const p of products) alone += p.count * (await plainMatmulMs(p, THREADS));
  const fused = (profile.byOp.GroupQueryAttention ?? 0) + (profile.byOp.Attention ?? 0) + (profile.byOp.MultiHeadAttention ?? 0);
  return {
    productShare: productShare(profile),
    attentionShare: fused / profile.ms,
    gflops: own === 0 ? 0 : gigaFlops(products) / (own / 1000),
    ofPlain: own === 0 ? 0 : alone / own,
  };
}
