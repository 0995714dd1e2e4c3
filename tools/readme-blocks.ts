import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A ```ts block of a README. */
export interface ReadmeBlock {
  /** For messages: `packages/core/README.md #1`. */
  readonly name: string;
  /** Name of a file for it. */
  readonly file: string;
  readonly code: string;
  /** Marked `run`: it ends by itself and needs nothing that is not there. */
  readonly runs: boolean;
}

/** All ```ts blocks of the repository's and the packages' READMEs, each a whole program. */
export function readmeBlocks(root: string): readonly ReadmeBlock[] {
  const readmes = ["packages", "apps"].flatMap((group) =>
    readdirSync(join(root, group)).map((name) => ({ name, path: `${group}/${name}/README.md` })),
  );
  return [{ name: "lfm-readme", path: "README.md" }, ...readmes].flatMap(({ name, path }) =>
    [...readFileSync(join(root, path), "utf8").matchAll(/```ts( run)?\n([\s\S]*?)```/g)].map(([, runs, code], i) => ({
      name: `${path} #${i + 1}`,
      file: `${name}-${i + 1}.ts`,
      code: code!,
      runs: runs !== undefined,
    })),
  );
}
