#!/usr/bin/env node
// The committed launcher: npm links a bin only where its file exists, and right after `npm ci` there is no build yet.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { registerSources } from "@lfm/core/worker";
import { DIGEST_FILE, sourceDigest } from "./source-digest.js";

const built = new URL("../dist/main.js", import.meta.url);
const root = new URL("../../../", import.meta.url);

const { main } = isBuildUsable() ? await import(built.href) : await fromSources();
process.exitCode = await main(process.argv.slice(2));

async function fromSources() {
  await registerSources();
  return import(new URL("../src/main.ts", import.meta.url).href);
}

/** An installed package has only its build. In a checkout a build of other sources, or not built whole, would run code that is gone. */
function isBuildUsable() {
  if (!existsSync(built)) return false;
  if (!existsSync(new URL("nx.json", root))) return true;
  for (const group of ["packages", "apps"]) {
    for (const name of readdirSync(new URL(`${group}/`, root))) {
      const member = new URL(`${group}/${name}/`, root);
      if (!existsSync(new URL("src/", member))) continue;
      const [dist, src] = ["dist/", "src/"].map((part) => fileURLToPath(new URL(part, member)));
      // A build out of nx's cache has old times: then what it notes of its sources decides.
      if (newest(dist) < newest(src) && noted(dist) !== sourceDigest(src)) return false;
    }
  }
  return true;
}

/** What a build was made of; nothing where there is none. */
function noted(dist) {
  const file = `${dist}${DIGEST_FILE}`;
  return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
}

/** Latest modification time under a folder in ms, test files left out; 0 where there is no such folder. */
function newest(folder) {
  if (!existsSync(folder)) return 0;
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.endsWith(".test.ts")) continue;
    const path = `${folder}/${entry.name}`;
    latest = Math.max(latest, entry.isDirectory() ? newest(path) : statSync(path).mtimeMs);
  }
  return latest;
}
