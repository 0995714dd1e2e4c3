import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Options } from "tsup";
import { DIGEST_FILE, sourceDigest } from "./apps/cli/bin/source-digest.js";

interface Manifest {
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly bin?: Readonly<Record<string, string>>;
}

/**
 * The build of every package: ESM, CJS and both kinds of declarations, one entry per `@lfm/source` in the manifest's `exports`.
 * An app (a manifest with `bin`) is ESM only and needs no declarations: nobody imports it.
 *
 * @param packageDir folder of the package, absolute
 * @param extraEntries files of `src/` that are started by path instead of by import (worker entries), for example `src/run-worker.ts`;
 *   they must lie directly in `src/`, so that `./x.js` beside `import.meta.url` names them from the sources and from the build alike
 */
export function packageBuild(packageDir: string, extraEntries: readonly string[] = []): ReturnType<typeof defineConfig> {
  const manifest = JSON.parse(readFileSync(join(packageDir, "package.json"), "utf8")) as Manifest;
  const isApp = manifest.bin !== undefined;
  const sources = Object.values(manifest.exports ?? {}).flatMap((target) => sourceOf(target));
  if (isApp && existsSync(join(packageDir, "src/main.ts"))) sources.push("./src/main.ts");
  const entry = Object.fromEntries([...sources, ...extraEntries].map((file) => [entryName(file), file]));
  const options: Options = {
    entry,
    format: isApp ? ["esm"] : ["esm", "cjs"],
    dts: isApp ? false : { entry },
    // A package names itself where a module must stay a file of its own (bin/worker.js starts threads); siblings are dependencies anyway.
    external: [/^@lfm\//],
    platform: "node",
    target: "node20",
    clean: true,
    shims: true,
    splitting: true,
    sourcemap: false,
    treeshake: false,
    silent: true,
    tsconfig: join(packageDir, "../../tsconfig.build.json"),
    onSuccess: async () => writeFileSync(join(packageDir, "dist", DIGEST_FILE), `${sourceDigest(join(packageDir, "src"))}\n`),
  };
  return defineConfig(options);
}

function sourceOf(target: unknown): string[] {
  if (typeof target !== "object" || target === null) return [];
  const source = (target as Record<string, unknown>)["@lfm/source"];
  return typeof source === "string" ? [source] : [];
}

/** `./src/testing/index.ts` → `testing/index`: the file's place under dist/ is its place under src/. */
function entryName(file: string): string {
  return file.replace(/^(\.\/)?src\//, "").replace(/\.ts$/, "");
}
