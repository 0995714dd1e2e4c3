/** Fixed lists of episodes: the same for everyone who measures. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { forEachLine, formatError } from "../files.js";
import { parseJsonLines } from "../records.js";
import { readTextFile } from "../text-file.js";

/** An episode by the places of its items; classes are called by name. */
export interface ListedEpisode {
  /** `FILE:LINE` */
  readonly at: string;
  readonly support: readonly (readonly [item: string, label: string])[];
  readonly query: readonly (readonly [item: string, label: string])[];
}

const RUN = "class_labels.txt";

/**
 * Reads a list of episodes:
 * - a .jsonl, a line `{"support": [["a/1.png", "a"], …], "query": [["b/7.png", "b"], …]}` an episode, items by path from the list's folder;
 * - the run files of Omniglot's authors as they are: a `class_labels.txt` (a line `run01/test/item01.png run01/training/class12.png` a query: what is
 *   asked, and the one picture of its class), or the folder that holds `run01` to `run20`.
 * @throws {LfmError} FILE_IO, FILE_FORMAT naming file and line
 */
export function readEpisodeList(path: string): readonly ListedEpisode[] {
  if (existsSync(path) && statSync(path).isDirectory()) {
    const runs = readdirSync(path)
      .sort()
      .map((name) => join(path, name, RUN))
      .filter((file) => existsSync(file));
    if (runs.length === 0)
      throw formatError(path, `no folder in it has a ${RUN}`, { hint: "unpack all_runs.zip of Omniglot there, or give a .jsonl" });
    return runs.map(readRun);
  }
  if (basename(path) === RUN) return [readRun(path)];
  const { records } = parseJsonLines(path, readTextFile(path, "use .jsonl"));
  return records.map(({ at, fields }) => ({ at, support: pairs(at, path, fields, "support"), query: pairs(at, path, fields, "query") }));
}

/** Paths stand relative to the folder above the run's own. */
function readRun(path: string): ListedEpisode {
  const root = dirname(dirname(path));
  const query: (readonly [string, string])[] = [];
  forEachLine(readTextFile(path, "use class_labels.txt"), (line, number) => {
    const [asked, right, ...more] = line.trim().split(/\s+/);
    if (!asked || !right || more.length > 0) throw formatError(path, "expected two paths: what is asked, and its class", { line: number });
    query.push([join(root, asked), right]);
  });
  const classes = [...new Set(query.map(([, right]) => right))].sort();
  return { at: path, support: classes.map((right) => [join(root, right), right] as const), query };
}

function pairs(at: string, path: string, fields: Readonly<Record<string, unknown>>, half: string): readonly (readonly [string, string])[] {
  const list = fields[half];
  const good =
    Array.isArray(list) &&
    list.length > 0 &&
    list.every((p) => Array.isArray(p) && p.length === 2 && p.every((v) => typeof v === "string"));
  if (!good) throw formatError(at, `"${half}" is no list of [path, class]`);
  return (list as [string, string][]).map(([item, label]) => [join(dirname(path), item), label] as const);
}
