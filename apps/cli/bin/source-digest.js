import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";

/**
 * sha256 over the names and contents of a package's sources, tests left out: what a build notes of itself, so that one out of a cache, whose times say
 * nothing, is told from one of other sources.
 * @param {string} folder `src/` of a package
 * @returns {string}
 */
export function sourceDigest(folder) {
  const hash = createHash("sha256");
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    if (!/\.(ts|json|css)$/.test(name) || name.endsWith(".test.ts")) continue;
    const content = readFileSync(`${folder}/${name}`);
    hash.update(`${name.replaceAll("\\", "/")}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** Where a build notes it, in `dist/`. */
export const DIGEST_FILE = "sources.sha256";
