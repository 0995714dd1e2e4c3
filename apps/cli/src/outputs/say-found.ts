import { deltaBytes, deltaSize, type Model, sizeOf } from "@lfm/core";
import { openPreferences } from "../inputs/preferences.js";
import type { Sources } from "../inputs/sources.js";
import { formatBytes } from "../render/table.js";
import { type Found, nothing, type Said } from "./found.js";
import { hasRisen } from "./has-risen.js";
import { numbers } from "./observers.js";
import { staysDelta } from "./save-found.js";
import { type SaidFindings, sayFindings } from "./say-findings.js";

const count = (n: number): string => n.toLocaleString("en");

/** What a result says of itself: sizes, losses, what was chosen. */
export async function sayFound(found: Found, s: Sources): Promise<readonly SaidFindings[]> {
  return [
    await sayData(s),
    sayLoss(found),
    sayQueries(found),
    await saySize(found, s),
    sayAdapter(found),
    sayEditor(found),
    sayChoice(found),
    await sayWeights(found, s),
    sayRun(found),
    sayMonitors(found),
    sayFindings(found, s),
  ];
}

async function sayData(s: Sources): Promise<Said> {
  // Of a family of tasks --data holds classes.
  if (s.texts("data").length === 0 || s.declares("episodes")) return nothing;
  const { objective } = s.task;
  const read = objective ? [await openPreferences(objective, s)] : await s.examples();
  return { value: { examples: read.reduce((n, { rows }) => n + rows.length, 0) }, lines: [] };
}

function sayLoss({ curves }: Found): Said {
  const loss = curves?.loss ?? curves?.student;
  const [first, last] = [loss?.[0]?.[1], loss?.at(-1)?.[1]];
  if (loss === undefined || first === undefined || last === undefined) return nothing;
  const rose = hasRisen(loss.map(([, value]) => value));
  return {
    value: { loss: { first, last, ...(rose ? { rose } : {}) } },
    lines: [
      `loss ${first.toFixed(4)} → ${last.toFixed(4)}`,
      ...(rose ? ["⚠ the training loss ends above its start: what was learned makes it worse; try a smaller --lr"] : []),
    ],
  };
}

function sayQueries({ queries }: Found): Said {
  return queries === undefined ? nothing : { value: { queries }, lines: [`${count(queries)} queries of the black box, one for each row`] };
}

async function saySize(found: Found, s: Sources): Promise<Said> {
  if (found.student) {
    const parameters = trainableCount(found.student);
    return { value: { parameters }, lines: [`student of ${count(parameters)} parameters`] };
  }
  if (!staysDelta(found, s)) return nothing;
  const { delta } = found;
  const { model, hash } = await s.reader();
  const [trainedParams, bytes] = [deltaSize(delta), deltaBytes(delta)];
  const totalParams = trainableCount(model);
  return {
    value: { parent: delta.parent ?? (await hash()), trainedParams, totalParams, bytes },
    lines: [`${count(trainedParams)} values beside ${count(totalParams)} parameters (${formatBytes(bytes)})`],
  };
}

/** Of what gradients could reach, buffers left out. */
function trainableCount({ info }: Model): number {
  return Object.values(info.params).reduce((n, { shape, trainable }) => (trainable ? n + sizeOf(shape) : n), 0);
}

function sayAdapter({ adapter, layers, omitted = [] }: Found): Said {
  if (!adapter) return nothing;
  const rank = adapter.config.r;
  if (!layers) return { value: { rank }, lines: [`rank ${rank}`] };
  const held = layers.reduce((least, l) => Math.min(least, l.energy), 1);
  return {
    value: { rank, layers, omitted },
    lines: [
      `${layers.length} layers, ranks up to ${rank}, at least ${(100 * held).toFixed(1)} % of each layer's ‖ΔW‖²`,
      ...(omitted.length > 0 ? [`${omitted.length} parameters changed and are not in it: ${omitted.join(", ")}`] : []),
    ],
  };
}

function sayEditor({ editor, cases, heldOut }: Found): Said {
  if (!editor || !cases || !heldOut) return nothing;
  const bytes = Object.values(editor.tensors).reduce((n, t) => n + t.data.byteLength, 0);
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  return {
    value: { bytes, cases, heldOut },
    lines: [
      `learned from ${count(cases.train)} facts; ${count(cases.heldOut)} share neither subject nor relation with them (${formatBytes(bytes)})`,
      `held-out edits: ${percent(heldOut.written)} of the answers' tokens written, ${percent(heldOut.unchanged)} of unrelated ones unchanged, ${numbers({ answer: heldOut.answer, drift: heldOut.drift })}`,
    ],
  };
}

function sayChoice({ chosen, alone, score }: Found): Said {
  if (!chosen || !alone || score === undefined) return nothing;
  return { value: { chosen, alone, score }, lines: [`took ${chosen.join(", ")}: score ${score.toFixed(4)} (alone: ${numbers(alone)})`] };
}

async function sayWeights({ weights, coefficients }: Found, s: Sources): Promise<Said> {
  const of = Object.entries(weights ?? {}).map(([name, w]) => `${w.toFixed(3)}·${name}`);
  if (!coefficients) return weights ? { value: { weights }, lines: [of.join(" + ")] } : nothing;
  const rows = Object.values(coefficients);
  const means = Object.keys(await s.models()).map((name, i) => [name, rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length]);
  return { value: { coefficients }, lines: [`λ, mean over tensors: ${numbers(Object.fromEntries(means))}`] };
}

/** Hits or answers that are shown. */
const SHOWN = 10;

function sayRun({ run, answers }: Found): Said {
  if (answers) return { value: { answers }, lines: answers.slice(0, SHOWN).map((a) => `${a.id}: ${a.answer}  [${a.passages.join(", ")}]`) };
  if (!run) return nothing;
  const best = [...run].slice(0, SHOWN).map(
    ([query, hits]) =>
      `${query}: ${
        hits
          .slice(0, 3)
          .map((h) => `${h.id} ${h.score.toFixed(4)}`)
          .join(", ") || "nothing"
      }`,
  );
  return { value: { answered: run.size, hits: [...run.values()].reduce((n, hits) => n + hits.length, 0) }, lines: best };
}

function sayMonitors({ monitors }: Found): Said {
  return monitors ? { value: { monitors }, lines: monitors.map((m) => `${m.warning ? "⚠ " : ""}${m.message}`) } : nothing;
}
