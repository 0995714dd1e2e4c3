import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { kebab } from "../commands/schema-flags.js";
import { splitDeltas } from "../inputs/models.js";
import type { Sources } from "../inputs/sources.js";

/** What makes a run the run that it is, by flag: values as text, of files and folders what they hold. */
export type RunIdentity = Readonly<Record<string, string>>;

/** How far a run goes is no part of what it is. */
const EXTENT = ["steps", "epochs"];
/** What a run itself writes into is known by its name: it grows while the run goes on. */
const GROWS = ["cache"];
const CONTENT = "sha256:";

/** Reads all files that a run is given: of large models that takes seconds. */
export async function runIdentity(method: string, s: Pick<Sources, "config" | "request" | "asked">): Promise<RunIdentity> {
  const found: Record<string, string> = { method };
  for (const [name, value] of Object.entries(s.config))
    if (value !== undefined && !EXTENT.includes(name)) found[`--${kebab(name)}`] = JSON.stringify(value);
  for (const [name, value] of Object.entries(s.asked())) {
    const parts: string[] = [];
    for (const one of [value].flat())
      parts.push(typeof one === "string" && !GROWS.includes(name) ? await contentOf(one) : JSON.stringify(one));
    found[`--${kebab(name)}`] = parts.join(" ");
  }
  found["--seed"] = String(s.request.seed ?? 0);
  return found;
}

/** What differs, each as a clause. */
export function differences(before: RunIdentity, now: RunIdentity): readonly string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((flag) => {
    const [was, is] = [before[flag], now[flag]];
    if (was === is) return [];
    if (was === undefined) return [`${flag} was not given`];
    if (is === undefined) return [`${flag} was given`];
    return was.includes(CONTENT) || is.includes(CONTENT) ? [`${flag} holds something else`] : [`${flag} was ${was}, and is ${is}`];
  });
}

/** Of a file or folder its content, of a model with deltas on it that of each, of any other text itself. */
async function contentOf(text: string): Promise<string> {
  const { base, deltas } = splitDeltas(text);
  const parts: string[] = [];
  for (const path of [base, ...deltas]) parts.push(existsSync(path) ? CONTENT + (await digestOf(path)) : path);
  return parts.join("+");
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  if (statSync(path).isDirectory()) {
    for (const name of readdirSync(path).sort())
      if (!name.startsWith(".")) hash.update(JSON.stringify([name, await digestOf(join(path, name))]));
  } else await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
