import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError, type LfmErrorCode, type Progress } from "@lfm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readWeights } from "../safetensors/sharded.js";
import { writeSafetensors } from "../safetensors/write.js";
import { pullModel, wantedFiles } from "./pull-model.js";

const root = mkdtempSync(join(tmpdir(), "lfm-hub-"));
afterAll(() => rmSync(root, { recursive: true }));
const COMMIT = "a".repeat(40);
let weights: Buffer;

beforeAll(async () => {
  await writeSafetensors(join(root, "w.safetensors"), { w: { dtype: "f32", shape: [5000], data: new Float32Array(5000).fill(2) } });
  weights = readFileSync(join(root, "w.safetensors"));
});

interface Hub {
  readonly fetch: typeof fetch;
  /** Paths whose content was asked for, with the Range header. */
  readonly asked: string[];
}

/** A hub of one repository: the four kinds of requests that a pull makes, ranges included. */
function hub(files: Readonly<Record<string, Buffer>>, options: { status?: number; cutAt?: number; damaged?: boolean } = {}): Hub {
  const asked: string[] = [];
  const answer = (url: string, range: string | null): Response => {
    if (options.status) return new Response("no", { status: options.status });
    const { pathname } = new URL(url);
    if (pathname.startsWith("/api/models/org/model/revision/"))
      return Response.json({ _id: "1", id: "org/model", sha: COMMIT, lastModified: "2024-01-01" });
    if (pathname === `/api/models/org/model/tree/${COMMIT}`) {
      return Response.json(
        Object.entries(files).map(([path, content]) => {
          const oid = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
          const lfs = { oid: createHash("sha256").update(content).digest("hex"), size: content.length, pointerSize: 130 };
          return { type: "file", path, size: content.length, oid, ...(path.endsWith(".safetensors") ? { lfs } : {}) };
        }),
      );
    }
    const path = pathname.slice(`/org/model/resolve/${COMMIT}/`.length);
    const content = files[path];
    if (!content) return new Response("no", { status: 404 });
    const [start, end] = /bytes=(\d+)-(\d+)/
      .exec(range ?? "")
      ?.slice(1)
      .map(Number) ?? [0, content.length - 1];
    if (range !== "bytes=0-0") asked.push(`${path} ${range ?? "all"}`);
    const part = Buffer.from(content.subarray(start, end! + 1));
    if (options.damaged && part.length > 100) part[50]! ^= 1;
    const cut = options.cutAt !== undefined && part.length > options.cutAt;
    const body = cut
      ? new ReadableStream({
          start: (c) => c.enqueue(part.subarray(0, options.cutAt)),
          pull: (c) => c.error(new Error("connection reset")),
        })
      : part;
    return new Response(body as ConstructorParameters<typeof Response>[0], {
      status: range ? 206 : 200,
      headers: { etag: '"x"', ...(range ? { "content-range": `bytes ${start}-${end}/${content.length}` } : {}) },
    });
  };
  return { asked, fetch: async (input, init) => answer(String(input), new Headers(init?.headers).get("range")) };
}

const cache = (): string => mkdtempSync(join(root, "cache-"));
const model = (): Record<string, Buffer> => ({
  "config.json": Buffer.from('{"model_type":"x"}'),
  "model.safetensors": weights,
  "pytorch_model.bin": Buffer.from("pickle"),
  "onnx/model.onnx": Buffer.from("onnx"),
  "1_Pooling/config.json": Buffer.from("{}"),
  "README.md": Buffer.from("read me"),
});
const failed = async (code: LfmErrorCode, run: Promise<unknown>): Promise<string> => {
  const error = await run.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(isLfmError(error, code), String(error)).toBe(true);
  return `${(error as Error).message} ${(error as { hint?: string }).hint}`;
};

describe("pullModel", () => {
  it("brings what a model needs, in the hub's layout, and tells how far it is", async () => {
    const { fetch, asked } = hub(model());
    const cacheDir = cache();
    const seen: Progress[] = [];
    const folder = await pullModel("org/model", { cacheDir, fetch, progress: (p) => seen.push(p) });
    expect(folder).toBe(join(cacheDir, "models--org--model", "snapshots", COMMIT));
    expect(readdirSync(folder).sort()).toEqual(["1_Pooling", "config.json", "model.safetensors"]);
    expect(lstatSync(join(folder, "model.safetensors")).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(cacheDir, "models--org--model", "refs", "main"), "utf8")).toBe(COMMIT);
    expect(readWeights(folder).weights.w!.shape).toEqual([5000]);
    const last = seen.at(-1)!;
    expect([last.done, last.unit]).toEqual([last.total, "byte"]);
    expect(asked.map((a) => a.split(" ")[0]).sort()).toEqual(["1_Pooling/config.json", "config.json", "model.safetensors"]);
  });

  it("fetches nothing twice, and nothing at all when offline", async () => {
    const cacheDir = cache();
    const folder = await pullModel("org/model", { cacheDir, fetch: hub(model()).fetch });
    const again = hub(model());
    expect(await pullModel("org/model", { cacheDir, fetch: again.fetch })).toBe(folder);
    expect(again.asked).toEqual([]);
    const offline = hub({}, { status: 500 });
    expect(await pullModel("org/model", { cacheDir, fetch: offline.fetch, offline: true })).toBe(folder);
    await failed("FILE_IO", pullModel("org/other", { cacheDir, offline: true }));
  });

  it("goes on where a download was cut off", async () => {
    const cacheDir = cache();
    await failed("FILE_IO", pullModel("org/model", { cacheDir, fetch: hub(model(), { cutAt: 7000 }).fetch }));
    const partial = readdirSync(join(cacheDir, "models--org--model", "blobs")).find((f) => f.endsWith(".incomplete"))!;
    expect(lstatSync(join(cacheDir, "models--org--model", "blobs", partial)).size).toBe(7000);
    const { fetch, asked } = hub(model());
    const folder = await pullModel("org/model", { cacheDir, fetch });
    expect(asked).toContain(`model.safetensors bytes=7000-${weights.length - 1}`);
    expect(readFileSync(join(folder, "model.safetensors"))).toEqual(weights);
  });

  it("refuses content that is not what the hub lists, and keeps none of it", async () => {
    const cacheDir = cache();
    expect(await failed("FILE_IO", pullModel("org/model", { cacheDir, fetch: hub(model(), { damaged: true }).fetch }))).toContain(
      "damaged",
    );
    const stored = join(cacheDir, "models--org--model");
    expect(readdirSync(join(stored, "blobs")).some((f) => f.endsWith(".incomplete"))).toBe(false);
    expect(existsSync(join(stored, "snapshots", COMMIT, "model.safetensors"))).toBe(false);
    expect(existsSync(join(stored, "refs"))).toBe(false);
  });

  it("says what is wrong: no such model, gated, pickles only, paths that leave the folder", async () => {
    const cacheDir = cache();
    const pull = (files: Record<string, Buffer>, status?: number): Promise<string> =>
      pullModel("org/model", { cacheDir, fetch: hub(files, status ? { status } : {}).fetch });
    expect(await failed("CONFIG_INVALID", pull({}, 404))).toContain("org/model");
    expect(await failed("CAPABILITY_MISSING", pull({}, 401))).toContain("HF_TOKEN");
    expect(await failed("CAPABILITY_MISSING", pull({}, 403))).toContain("terms");
    expect(await failed("FILE_IO", pull({}, 503))).toContain("pull again");
    expect(await failed("FILE_FORMAT", pull({ "pytorch_model.bin": Buffer.from("x") }))).toContain("pickled");
    await failed("CONFIG_INVALID", pullModel("../etc", { cacheDir }));
    const escaping = { ...model(), "../../evil.json": Buffer.from("{}") };
    await failed("FILE_FORMAT", pullModel("org/model", { cacheDir, fetch: hub(escaping).fetch, allow: () => true }));
    expect(existsSync(join(root, "evil.json"))).toBe(false);
  });

  it("stops on request", async () => {
    const signal = AbortSignal.abort();
    const aborting: typeof fetch = async (_input, init) => {
      init?.signal?.throwIfAborted();
      return new Response();
    };
    await failed("ABORTED", pullModel("org/model", { cacheDir: cache(), fetch: aborting, signal }));
  });

  it("links a blob that another revision brought", async () => {
    const cacheDir = cache();
    const folder = await pullModel("org/model", { cacheDir, fetch: hub(model()).fetch });
    writeFileSync(join(cacheDir, "models--org--model", "refs", "main"), "stale");
    const { fetch, asked } = hub({ ...model(), "extra.txt": Buffer.from("new") });
    await pullModel("org/model", { cacheDir, fetch });
    expect(asked.map((a) => a.split(" ")[0])).toEqual(["extra.txt"]);
    expect(readdirSync(folder)).toContain("extra.txt");
  });
});

describe("wantedFiles", () => {
  it("takes one set of weights", () => {
    const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    expect(wantedFiles(["model.safetensors", "model.fp16.safetensors", ...shards])).toEqual(["model.safetensors"]);
    expect(wantedFiles([...shards, "consolidated.safetensors", "model.safetensors.index.json"])).toEqual([
      ...shards,
      "model.safetensors.index.json",
    ]);
    expect(wantedFiles(["adapter_model.safetensors", "adapter_config.json", "optimizer.pt"])).toEqual([
      "adapter_model.safetensors",
      "adapter_config.json",
    ]);
    expect(wantedFiles(["a.safetensors", "tokenizer.model", "chat_template.jinja", "openvino/x.json"])).toEqual([
      "a.safetensors",
      "tokenizer.model",
      "chat_template.jinja",
    ]);
    expect(wantedFiles(["a.bin", "b.json"], (p) => p.endsWith(".bin"))).toEqual(["a.bin"]);
  });
});
