/**
 * `npm run peers -- NAME…` (or `all`): ours and theirs side by side in one run.
 * The processes are started, warmed up, and then asked for one repetition at a time in turn, so that whatever else the machine does hits
 * all alike. Ratio = theirs / ours per pair; the median and the spread are written to docs/peers/NAME.VENDOR.json, VENDOR being the maker of the
 * processor at hand: a ratio holds for that one. `all` goes on when one comparison cannot run, says why, and ends with an error at last.
 * The peer's Python is named by LFM_PYTHON (a venv with tools/peers/requirements.txt), default `python3`; folders of real models by LFM_MODELS
 * and LFM_SMOLLM2 (SmolLM2-135M), what search is compared over by LFM_SEARCH (search-data.ts makes it).
 */
import { existsSync } from "node:fs";
import { compare } from "./compare.js";
import { peerJobs } from "./jobs.js";
import { mergeMemory } from "./merge/memory.js";
import { mergeParity } from "./merge/parity.js";
import { mergeSpeed } from "./merge/speed.js";
import { writeTable } from "./table.js";

/** Comparisons of whole commands; they need the Python of LFM_MERGEKIT_PYTHON (tools/peers/requirements-merge.txt). */
const commandPeers: Readonly<Record<string, () => Promise<void>>> = {
  "merge-parity": mergeParity,
  "merge-speed": () => mergeSpeed(Number(process.env.LFM_PEER_REPETITIONS ?? 5)),
  "merge-memory": mergeMemory,
};

const asked = process.argv.slice(2);
const all = asked.length === 0 || asked[0] === "all";
const names = all ? Object.keys(peerJobs) : asked;
const unknown = names.find((name) => !peerJobs[name] && !commandPeers[name]);
if (unknown !== undefined) {
  console.error(`no peer job "${unknown}"; there are: ${[...Object.keys(peerJobs), ...Object.keys(commandPeers)].join(", ")}`);
  process.exit(2);
}
for (const name of names) {
  const job = peerJobs[name];
  const missing = job?.needs && !existsSync(process.env[job.needs] ?? "") ? job.needs : undefined;
  if (missing) {
    console.log(`${name}: skipped, ${missing} names no folder`);
    if (!all) process.exitCode = 1;
    continue;
  }
  try {
    await (job ? compare(name, job) : commandPeers[name]!());
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
writeTable();
process.exit();
