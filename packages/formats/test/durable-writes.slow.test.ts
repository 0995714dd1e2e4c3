import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { readSafetensors } from "../src/safetensors/read.js";
import { writeSafetensors } from "../src/safetensors/write.js";

const root = join(import.meta.dirname, "../../..");
const scratch = mkdtempSync(join(tmpdir(), "lfm-durable-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const source = (file: string): string => JSON.stringify(pathToFileURL(join(import.meta.dirname, "../src/safetensors", file)).href);
const node = [
  process.execPath,
  "--import",
  pathToFileURL(join(root, "node_modules/tsx/dist/esm/index.mjs")).href,
  "--conditions=@lfm/source",
  "--input-type=module",
  "-e",
] as const;

/** Writes 400 tensors of 1 MB to `target`, telling of each; the tensors are made when they are asked for. */
const writer = (target: string, extra = ""): string => `
  import { writeSafetensors } from ${source("write.ts")};
  const shape = [262144];
  const tensors = {};
  for (let i = 0; i < 400; i++) {
    const tensor = () => ({ dtype: "f32", shape, data: new Float32Array(262144).fill(i) });
    tensors["t" + i] = { dtype: "f32", shape, file: { path: "", offset: 0, bytes: 1 << 20 }, read: () => { console.log(i); return tensor(); } };
  }
  ${extra}
  try {
    await writeSafetensors(${JSON.stringify(target)}, tensors);
    console.log("peak " + process.resourceUsage().maxRSS);
  } catch (error) {
    console.log("failed " + error.code + " " + error.message);
  }`;

describe("writing of safetensors", () => {
  it("killed in the middle, leaves nothing under the final name, and the file before as it was", async () => {
    const [fresh, old] = [join(scratch, "fresh.safetensors"), join(scratch, "old.safetensors")];
    await writeSafetensors(old, { w: { dtype: "f32", shape: [1], data: Float32Array.of(7) } });
    const before = readFileSync(old);
    for (const target of [fresh, old]) {
      const child = spawn(node[0], [...node.slice(1), writer(target)], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
      let seen = "";
      const ended = new Promise<NodeJS.Signals | null>((resolve) => child.on("exit", (_code, signal) => resolve(signal)));
      child.stdout.on("data", (chunk: Buffer) => {
        seen += chunk.toString();
        if (seen.includes("\n40\n")) child.kill("SIGKILL");
      });
      expect(await ended).toBe("SIGKILL");
      expect(seen).not.toContain("peak");
    }
    expect(existsSync(fresh)).toBe(false);
    expect(readFileSync(old)).toEqual(before);
  });

  it("on a disk without room, says so and leaves nothing behind", () => {
    const target = join(scratch, "full", "big.safetensors");
    // A limit of 20 MB per file stands for the disk: writes past it fail the same way.
    const { stdout } = spawnSync("sh", ["-c", `ulimit -f 40960; trap "" XFSZ; exec "$@"`, "sh", ...node, writer(target)], {
      cwd: root,
      encoding: "utf8",
    });
    expect(stdout).toMatch(/failed FILE_IO .*(EFBIG|ENOSPC)/);
    expect(readdirSync(join(scratch, "full"))).toEqual([]);
  });

  it("holds one tensor at a time in memory", () => {
    const target = join(scratch, "streamed.safetensors");
    const measure = (extra: string): number => {
      const { stdout } = spawnSync(node[0], [...node.slice(1), writer(target, extra)], { cwd: root, encoding: "utf8" });
      return Number(/peak (\d+)/.exec(stdout)?.[1]);
    };
    const one = measure("for (const name of Object.keys(tensors).slice(1)) delete tensors[name];");
    const all = measure("");
    expect(statSync(target).size).toBeGreaterThan(400 * 2 ** 20);
    expect(Object.keys(readSafetensors(target).tensors).length).toBe(400);
    expect((all - one) / 1024).toBeLessThan(120);
  });
});
