import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { loadRegistry } from "../apps/cli/src/paradigms.js";

const root = join(import.meta.dirname, "..");

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((f) => f.isFile() && f.name.endsWith(".ts") && !f.parentPath.includes("node_modules"))
    .map((f) => join(f.parentPath, f.name));
}

const { methods } = await loadRegistry();
const sources = new Map(
  [...new Set(methods.map((m) => m.paradigm))].map((paradigm) => {
    const folder = join(root, "packages", paradigm);
    return [paradigm, { folder, files: filesBelow(folder).map((path) => ({ path, text: readFileSync(path, "utf8") })) }];
  }),
);

describe.each(methods.map((m) => [`${m.paradigm}/${m.id}`, m] as const))("%s", (_name, method) => {
  const { folder, files } = sources.get(method.paradigm)!;
  const own = files.filter(
    (f) => f.path.includes("/src/methods/") && !f.path.endsWith(".test.ts") && f.text.includes(`id: "${method.id}"`),
  );

  it("has one file", () => {
    expect(own.map((f) => relative(folder, f.path))).toHaveLength(1);
  });

  it("has tests of its own that hold it to something known: a golden, a hand-worked case or a limit", () => {
    const exported = /export const (\w+) = define/.exec(own[0]!.text)?.[1];
    expect(exported).toBeDefined();
    const uses = new RegExp(`\\b${exported}\\b`);
    const tests = files.filter((f) => f.path.endsWith(".test.ts") && !f.path.includes("conformance") && uses.test(f.text));
    expect(tests.map((f) => relative(folder, f.path))).not.toEqual([]);
    expect(tests.some((f) => /golden|toBeCloseTo|toEqual|toBeLessThan/.test(f.text))).toBe(true);
  });

  it("is held to the contract of methods", () => {
    expect(files.some((f) => f.path.endsWith(".test.ts") && f.text.includes("conformMethod"))).toBe(true);
  });

  it("has a row in the README of its package", () => {
    expect(readFileSync(join(folder, "README.md"), "utf8")).toMatch(new RegExp(`^\\|[^|\\n]*\`${method.id}\``, "m"));
  });
});
