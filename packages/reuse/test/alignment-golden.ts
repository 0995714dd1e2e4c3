import { readFileSync } from "node:fs";

/** What tools/golden/alignment.py wrote. */
export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`golden/alignment/${name}.json`, import.meta.url), "utf8")) as T;
}
