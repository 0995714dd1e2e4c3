import { availableParallelism } from "node:os";
import { configDefaults, defineConfig, type ViteUserConfig } from "vitest/config";

const TEST_ROOTS = ["packages/*/src", "packages/*/test", "apps/*/src", "apps/*/test", "tools"];

/**
 * The one vitest setup, in three suites told apart by file name: `x.test.ts` (fast, `npm test`), `x.slow.test.ts` (minutes, `npm run
 * test:slow`) and `x.real.test.ts` (real data and models named by LFM_DATA and LFM_MODELS, `npm run test:real`).
 * Siblings are read from their sources through the `@lfm/source` condition: no build comes before a test.
 */
export function testSuite(kind: "fast" | "slow" | "real"): ViteUserConfig {
  const suffix = kind === "fast" ? "test" : `${kind}.test`;
  // No "import" here: Node would apply it to require() as well, and hand ESM to CommonJS packages such as tfjs.
  const conditions = ["@lfm/source", "node"];
  return defineConfig({
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      include: TEST_ROOTS.map((root) => `${root}/**/*.${suffix}.ts`),
      exclude: [...configDefaults.exclude, ...(kind === "fast" ? ["**/*.slow.test.ts", "**/*.real.test.ts"] : [])],
      pool: "forks",
      // All cores: most of a fast file's time is single-threaded work. The others keep every core busy themselves. Sources are loaded once a
      // worker, not once a file: nothing in them keeps state that tests share.
      ...(kind === "fast" ? { maxWorkers: availableParallelism(), isolate: false } : {}),
      testTimeout: kind === "fast" ? 60_000 : 1_200_000,
      hookTimeout: kind === "fast" ? 60_000 : 1_200_000,
    },
  });
}
