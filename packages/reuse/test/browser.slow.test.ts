import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type HostTensor, Rng } from "@lfm/core";
import { readSafetensors, writeSafetensors } from "@lfm/formats";
import { build } from "esbuild";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type MergePlan, mergeMethods, runMerge } from "../src/index.js";

const executable = process.env.CHROMIUM ?? "/usr/bin/chromium";
const missing = !existsSync(executable);

/** bf16 numbers in [-1, 1]; 10 M of them are 20 MB. */
function model(seed: number): Record<string, HostTensor> {
  const rng = new Rng(seed);
  const random = (n: number): Uint16Array => Uint16Array.from({ length: n }, () => (rng.uint32() & 0x80ff) | 0x3e00);
  const tensor = (...shape: number[]): HostTensor => ({ dtype: "bf16", shape, data: random(shape.reduce((a, b) => a * b, 1)) });
  return { "embed.weight": tensor(6000, 1000), "head.weight": tensor(1000, 4000), "norm.weight": tensor(1000) };
}

/** What of a worker is used in the page; types of browsers are not those of Node. */
type PageWorker = new (
  url: string,
  options: object,
) => {
  onmessage: (event: { readonly data: unknown }) => void;
  onerror: (event: { readonly message: string }) => void;
  postMessage(data: unknown): void;
};

const worker = `
import { mergeInBrowser } from "./browser.js";
self.onmessage = async ({ data: { plan, names } }) => {
  try {
    const files = Object.fromEntries(await Promise.all(names.map(async (n) => [n, await (await fetch("/" + n)).blob()])));
    const folder = await navigator.storage.getDirectory();
    const handle = await (await folder.getFileHandle("model.safetensors", { create: true })).createSyncAccessHandle();
    let steps = 0;
    const report = mergeInBrowser(plan, { files, output: handle, progress: () => steps++ });
    const bytes = new Uint8Array(handle.getSize());
    handle.read(bytes, { at: 0 });
    handle.close();
    const hash = [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
    postMessage({ report, steps, hash });
  } catch (error) {
    postMessage({ error: String(error && error.stack || error) });
  }
};`;

describe.skipIf(missing)(
  missing ? `merging in a browser (skipped: no ${executable}; install chromium or set CHROMIUM)` : "merging in a browser",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "lfm-browser-"));
    let [browser, server]: [Browser | undefined, Server | undefined] = [undefined, undefined];
    let bundle = "";

    beforeAll(async () => {
      const built = await build({
        entryPoints: [fileURLToPath(new URL("../src/browser.ts", import.meta.url))],
        bundle: true,
        write: false,
        format: "esm",
        platform: "browser",
        conditions: ["@lfm/source"],
        treeShaking: true,
        external: ["node:*", "onnxruntime-node", "@tensorflow/*", "@huggingface/*", "tsx"],
        logLevel: "error",
      });
      bundle = built.outputFiles[0]!.text;
      for (const [i, name] of ["base", "a", "b"].entries()) await writeSafetensors(join(folder, `${name}.safetensors`), model(i + 1));
      server = createServer((request, response) => {
        const name = basename(request.url ?? "");
        const texts: Readonly<Record<string, readonly [string, string]>> = {
          "": ["text/html", "<!doctype html><title>merge</title>"],
          "browser.js": ["text/javascript", bundle],
          "worker.js": ["text/javascript", worker],
        };
        const text = texts[name];
        if (text) response.writeHead(200, { "content-type": text[0] }).end(text[1]);
        else if (existsSync(join(folder, name)))
          response.writeHead(200, { "content-type": "application/octet-stream" }).end(readFileSync(join(folder, name)));
        else response.writeHead(404).end();
      });
      await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
      browser = await chromium.launch({ executablePath: executable, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
    }, 60_000);
    afterAll(async () => {
      await browser?.close();
      server?.close();
      rmSync(folder, { recursive: true });
    });

    it("needs no other module when it is loaded", () => {
      expect(bundle.match(/^import .*$/gm) ?? []).toEqual([]);
    });

    it.each(["ties", "average"] as const)(
      "%s of 20 MB gives the bytes that Node gives",
      async (id) => {
        const plan = planOf(id, folder);
        const out = join(folder, `out-${id}`);
        await runMerge({ ...plan, tensors: plan.tensors.map((t) => inFolder(t, folder)) }, { out });
        const page = await browser!.newPage();
        await page.goto(`http://127.0.0.1:${(server!.address() as AddressInfo).port}/`);
        const answer = await page.evaluate(
          ([planned, names]) =>
            new Promise<{ error?: string; hash?: string; steps?: number; report?: { bytes: number } }>((resolve) => {
              const w = new (globalThis as unknown as { readonly Worker: PageWorker }).Worker("/worker.js", { type: "module" });
              w.onmessage = ({ data }) => resolve(data as never);
              w.onerror = ({ message }) => resolve({ error: message });
              w.postMessage({ plan: planned, names });
            }),
          [plan, ["base.safetensors", "a.safetensors", "b.safetensors"]] as const,
        );
        expect(answer.error).toBeUndefined();
        const bytes = readFileSync(join(out, "model.safetensors"));
        expect(answer.hash).toBe(createHash("sha256").update(bytes).digest("hex"));
        expect(answer).toMatchObject({ steps: 3, report: { bytes: statSync(join(out, "model.safetensors")).size } });
        expect(bytes.length).toBeGreaterThan(20e6);
        await page.close();
      },
      60_000,
    );
  },
);

/** Files by their names, as handles have them. */
function planOf(id: "ties" | "average", folder: string): MergePlan {
  const { merging } = mergeMethods.find((m) => m.id === id)!;
  const tensors = (name: string) => readSafetensors(join(folder, `${name}.safetensors`)).tensors;
  const input = (name: string, key: string) => {
    const { dtype, shape, file } = tensors(name)[key]!;
    const parameters = merging.perModel.parse(id === "ties" ? { density: 0.4, weight: 0.5 } : { weight: 0.5 }) as Record<string, unknown>;
    return {
      model: name,
      parameters,
      source: { kind: "stored" as const, file: `${name}.safetensors`, name: key, position: file.offset, dtype, shape },
    };
  };
  return {
    tensors: Object.entries(tensors("a")).map(([name, { shape }]) => ({
      name,
      shape,
      dtype: "bf16" as const,
      method: id,
      parameters: merging.shared.parse({}) as Record<string, unknown>,
      models: [input("a", name), input("b", name)],
      ...(id === "ties" ? { base: input("base", name) } : {}),
    })),
    texts: {},
    copies: {},
    seed: 0,
  };
}

function inFolder(tensor: MergePlan["tensors"][number], folder: string): MergePlan["tensors"][number] {
  const moved = (input: (typeof tensor.models)[number]) => ({
    ...input,
    source: input.source.kind === "stored" ? { ...input.source, file: join(folder, input.source.file) } : input.source,
  });
  return { ...tensor, models: tensor.models.map(moved), ...(tensor.base ? { base: moved(tensor.base) } : {}) };
}
