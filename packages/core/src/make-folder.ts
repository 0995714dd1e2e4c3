import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Makes a folder and those above it that are missing, as `mkdir -p`. Node's own recursive way never comes back where the system refuses a
 * folder though the one above it is there (below /proc), and no signal ends a process that waits in it.
 * @returns the uppermost folder that was made, as node does
 * @throws {NodeJS.ErrnoException} as mkdir
 */
export function makeFolder(path: string): string | undefined {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.push(at);
  // What is there and no folder fails as mkdir does.
  if (missing.length === 0 && !statSync(path).isDirectory()) mkdirSync(path);
  missing.reverse();
  for (const folder of missing) {
    try {
      mkdirSync(folder);
    } catch (cause) {
      // Another process may have been faster.
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST" || !existsSync(folder) || !statSync(folder).isDirectory()) throw cause;
    }
  }
  return missing[0];
}
