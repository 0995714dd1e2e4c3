import { LfmError } from "@lfm/core";
import { readSafetensors, writeSafetensors } from "@lfm/formats";
import { z } from "zod";
import type { Statistics } from "./statistics.js";

/** A file as other safetensors files are: tensors under the names of the parameters, the rest in the metadata. @throws {LfmError} FILE_IO */
export async function saveStats(path: string, statistics: Statistics): Promise<void> {
  const { kind, model, samples, tensors } = statistics;
  const own: Record<string, string> =
    kind === "fisher"
      ? { estimator: statistics.estimator }
      : { layouts: JSON.stringify(statistics.layouts), rows: JSON.stringify(statistics.rows) };
  await writeSafetensors(path, tensors, { metadata: { format: "lfm-statistics", kind, model, samples: String(samples), ...own } });
}

const json = z.string().transform((text, issue) => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    issue.addIssue("is no JSON");
    return z.NEVER;
  }
});
const common = { format: z.literal("lfm-statistics"), model: z.string(), samples: z.coerce.number().int().positive() };
const metadata = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("fisher"), ...common, estimator: z.enum(["expected", "empirical", "fusion-bench"]) }),
  z.object({
    kind: z.literal("gram"),
    ...common,
    layouts: json.pipe(z.record(z.string(), z.enum(["out-in", "in-out"]))),
    rows: json.pipe(z.record(z.string(), z.number().positive())),
  }),
]);

/** Reads the header; tensors stay in the file until they are needed. @throws {LfmError} FILE_FORMAT, FILE_IO */
export function loadStats(path: string): Statistics {
  const file = readSafetensors(path);
  const parsed = metadata.safeParse(file.metadata);
  if (!parsed.success)
    throw new LfmError("FILE_FORMAT", `[@lfm/statistics] ${path} holds no statistics of a model: ${z.prettifyError(parsed.error)}`, {
      hint: "saveStats and `lfm stats` write such files",
    });
  const { format: _format, ...known } = parsed.data;
  return { ...known, tensors: file.tensors };
}
