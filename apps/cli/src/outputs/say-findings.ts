import { allowsFpr, type Findings, type Risk, tprAtFpr } from "@lfm/probe";
import type { Sources } from "../inputs/sources.js";
import { type Found, nothing, type Said } from "./found.js";

/** What a command says of an attack, and the limit that it passed. */
export interface SaidFindings extends Said {
  /** Why the command ends with code 1, where a limit was given and is passed. */
  readonly failed?: string;
}

/** What an attack found: risks with their intervals, what they were measured beside, and how both stood before the adaptation. */
export function sayFindings({ findings, before }: Found, s: Sources): SaidFindings {
  if (!findings) return nothing;
  const gate = judge(findings, s);
  return {
    value: { ...findings, ...(before ? { before } : {}), ...(gate ? { gate } : {}) },
    lines: [
      ...Object.entries(findings.risks).map(([name, risk]) => {
        const was = before?.risks[name];
        return `${nameOf(name)} ${interval(risk)}${was ? `; before ${interval(was)}` : ""}`;
      }),
      measuredLine(findings),
      ...(before ? [`before: ${measuredLine(before)}`] : []),
      ...(findings.cases ?? []).map((c) =>
        Object.entries(c)
          .map(([name, value]) => `${name} ${typeof value === "number" ? Number(value.toFixed(4)) : value}`)
          .join("  "),
      ),
      `${findings.queries.toLocaleString("en")} queries of the model`,
      ...(findings.warnings ?? []).map((w) => `⚠ ${w}`),
      ...(gate ? [gate.message] : []),
    ],
    ...(gate && !gate.passed ? { failed: gate.message } : {}),
  };
}

interface Gate {
  readonly maxTpr: number;
  readonly atFpr: number;
  readonly upper: number;
  readonly passed: boolean;
  readonly message: string;
}

/** Whether the members that may be found stay below the limit; too few non-members for the rate is no pass. */
function judge({ scores }: Findings, s: Sources): Gate | undefined {
  const maxTpr = s.count("max-tpr");
  if (maxTpr === undefined || !scores) return undefined;
  const atFpr = s.count("at-fpr") ?? 0.01;
  const { tpr } = tprAtFpr(scores, atFpr);
  const enough = allowsFpr(scores, atFpr);
  const passed = enough && tpr.high <= maxTpr;
  const said = `members found at ${percent(atFpr)} false positives: ${interval(tpr)}, at most ${percent(maxTpr)} allowed`;
  const why = enough ? "" : ` (${scores.nonMembers.length} non-members cannot show it: ${Math.ceil(3 / atFpr)} can)`;
  return { maxTpr, atFpr, upper: tpr.high, passed, message: `${passed ? "passed" : "FAILED"}: ${said}${why}` };
}

function interval({ value, low, high }: Risk): string {
  return `${value.toFixed(4)} [${low.toFixed(4)}, ${high.toFixed(4)}]`;
}

function measuredLine({ measured }: Findings): string {
  return Object.entries(measured)
    .map(([name, value]) => `${nameOf(name)} ${Number.isInteger(value) ? value : value.toFixed(4)}`)
    .join(", ");
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(3))} %`;
}

/** `membersAccuracy` → `members accuracy`, `tprAt1%Fpr` → `tpr at 1% fpr`. */
function nameOf(key: string): string {
  return key.replaceAll(/(?<=[a-z%])(?=[A-Z])|(?<=[a-z])(?=\d)/g, " ").toLowerCase();
}
