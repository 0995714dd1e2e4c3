import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { DIGEST_FILE, sourceDigest } from "../bin/source-digest.js";

const repository = fileURLToPath(new URL("../../../", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "lfm-launcher-"));
const cli = join(root, "apps/cli");
const source = join(cli, "src/main.ts");
const main = (says: string): string => `export const main = (): number => { console.log(${JSON.stringify(says)}); return 0; };\n`;

mkdirSync(join(cli, "src"), { recursive: true });
mkdirSync(join(cli, "dist"));
mkdirSync(join(root, "packages"));
cpSync(join(repository, "apps/cli/bin"), join(cli, "bin"), { recursive: true });
writeFileSync(join(cli, "package.json"), '{"type":"module"}');
writeFileSync(join(root, "nx.json"), "{}");
symlinkSync(join(repository, "node_modules"), join(root, "node_modules"));
writeFileSync(source, main("sources"));
writeFileSync(join(cli, "dist/main.js"), main("built").replace(": number", ""));
writeFileSync(join(cli, "dist", DIGEST_FILE), `${sourceDigest(join(cli, "src"))}\n`);

afterAll(() => rmSync(root, { recursive: true }));

const run = (): string => spawnSync(process.execPath, [join(cli, "bin/lfm.js")], { encoding: "utf8" }).stdout.trim();

describe("the launcher in a checkout", () => {
  it("runs a build of these sources, however old its files are", () => {
    expect(run()).toBe("built");
    for (const file of ["main.js", DIGEST_FILE]) utimesSync(join(cli, "dist", file), new Date(0), new Date(0));
    expect(run(), "out of a cache").toBe("built");
    writeFileSync(join(cli, "src/main.test.ts"), "// tests are in no build");
    expect(run()).toBe("built");
  });

  it("runs the sources where the build is of others", () => {
    writeFileSync(source, main("changed"));
    expect(run()).toBe("changed");
    rmSync(join(cli, "dist", DIGEST_FILE));
    expect(run(), "a build that says nothing of itself").toBe("changed");
    rmSync(join(cli, "dist"), { recursive: true });
    expect(run(), "no build").toBe("changed");
  });
});
