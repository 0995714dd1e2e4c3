import { readFileSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { parse } from "csv-parse/sync";

/** Examples of a file, all of one kind. */
export type Examples =
  | { readonly kind: "classification"; readonly rows: readonly { readonly text: string; readonly label: string }[] }
  | { readonly kind: "completion"; readonly rows: readonly { readonly prompt: string; readonly completion: string }[] }
  | { readonly kind: "text"; readonly rows: readonly { readonly text: string }[] };

/** Column names that other tools' files use for the same thing. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  text: ["text", "sentence"],
  label: ["label", "intent", "category", "class"],
  prompt: ["prompt", "instruction", "question", "input"],
  completion: ["completion", "response", "answer", "output"],
};

/**
 * Reads examples from .jsonl (an object a line), .csv or .tsv (a header line): `text` + `label`, `prompt` + `completion`, or `text` alone.
 * @throws {LfmError} FILE_IO when it cannot be read, FILE_FORMAT naming file and line
 */
export function readExamples(path: string): Examples {
  let content: string;
  try {
    content = readFileSync(path, "utf8");
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/data] cannot read ${path}`, { cause, hint: "give an existing .jsonl, .csv or .tsv file" });
  }
  const records = parseRecords(path, content);
  if (records.length === 0) throw new LfmError("FILE_FORMAT", `[@lfm/data] ${path} holds no example`);
  const names = Object.keys(records[0]!);
  const column = (what: string): string | undefined => ALIASES[what]!.find((n) => names.includes(n));
  const [text, label, prompt, completion] = [column("text"), column("label"), column("prompt"), column("completion")];
  const take = (row: Record<string, unknown>, name: string, i: number): string => {
    const value = row[name];
    if (typeof value !== "string" && typeof value !== "number")
      throw new LfmError("FILE_FORMAT", `[@lfm/data] ${path}: example ${i + 1} has no "${name}"`);
    return String(value);
  };
  if (text && label) return { kind: "classification", rows: records.map((r, i) => ({ text: take(r, text, i), label: take(r, label, i) })) };
  if (prompt && completion)
    return { kind: "completion", rows: records.map((r, i) => ({ prompt: take(r, prompt, i), completion: take(r, completion, i) })) };
  if (text) return { kind: "text", rows: records.map((r, i) => ({ text: take(r, text, i) })) };
  throw new LfmError("FILE_FORMAT", `[@lfm/data] ${path} has the columns ${names.join(", ")}`, {
    hint: "name them text and label, or prompt and completion, or text",
  });
}

function parseRecords(path: string, content: string): Record<string, unknown>[] {
  if (/\.(jsonl|ndjson)$/i.test(path)) {
    return content.split("\n").flatMap((line, i) => {
      if (line.trim() === "") return [];
      try {
        const value: unknown = JSON.parse(line);
        if (typeof value === "object" && value !== null && !Array.isArray(value)) return [value as Record<string, unknown>];
      } catch (cause) {
        throw new LfmError("FILE_FORMAT", `[@lfm/data] ${path}:${i + 1} is not JSON`, { cause });
      }
      throw new LfmError("FILE_FORMAT", `[@lfm/data] ${path}:${i + 1} is not a JSON object`);
    });
  }
  if (/\.(csv|tsv)$/i.test(path)) {
    try {
      const tab = /\.tsv$/i.test(path);
      return parse(content, {
        columns: true,
        delimiter: tab ? "\t" : ",",
        ...(tab ? { quote: null } : {}),
        skip_empty_lines: true,
        bom: true,
      }) as Record<string, unknown>[];
    } catch (cause) {
      throw new LfmError("FILE_FORMAT", `[@lfm/data] ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }
  throw new LfmError("FILE_FORMAT", `[@lfm/data] ${path}: unknown kind of file`, { hint: "use .jsonl, .csv or .tsv" });
}
