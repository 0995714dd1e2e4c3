import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { HubApiError, type ListFileEntry, listFiles, modelInfo } from "@huggingface/hub";
import { LfmError, type Progress, throwIfAborted } from "@lfm/core";
import { pathFlaw } from "../names.js";
import { readWeights } from "../safetensors/sharded.js";
import { type CachedRepo, cacheFile, checkRepoPath, recordRef } from "./cache.js";

export interface PullOptions {
  /** Branch, tag or commit. Default "main". */
  readonly revision?: string;
  /** Default: the hub's own cache folder (HF_HUB_CACHE, HF_HOME), shared with Python. */
  readonly cacheDir?: string;
  /** For gated and private repositories. Default: the environment's HF_TOKEN. */
  readonly token?: string;
  /** Which files to take, by path. Default: the safetensors weights, and json, txt and tokenizer files; see {@link wantedFiles}. */
  readonly allow?: (path: string) => boolean;
  /** Never asks the network: what an earlier pull of this revision brought. */
  readonly offline?: boolean;
  readonly hubUrl?: string;
  readonly fetch?: typeof fetch;
  readonly signal?: AbortSignal;
  /** Bytes done and in all. */
  readonly progress?: (progress: Progress) => void;
}

/** `org/name`, as the hub names repositories: no path, for a part of it that begins with a dot leads somewhere on this machine. */
export function isHubName(name: string): boolean {
  return /^\w[\w.-]*\/\w[\w.-]*$/.test(name) && !name.includes("..");
}

/**
 * Brings a model of the Hugging Face hub into the local cache and returns its folder. Files that are there are not fetched again,
 * a file that was cut off goes on where it stopped, and what came is checked against the hub's hash.
 * @throws {LfmError} CONFIG_INVALID (no such repository or revision), CAPABILITY_MISSING (gated or private), FILE_FORMAT (no safetensors), FILE_IO (network, disk), ABORTED
 */
export async function pullModel(repo: string, options: PullOptions = {}): Promise<string> {
  if (!/^[\w.-]+(\/[\w.-]+)?$/.test(repo) || repo.includes(".."))
    throw new LfmError("CONFIG_INVALID", `[@lfm/formats] "${repo}" is no name of the hub`);
  const cacheDir = options.cacheDir ?? defaultCacheDir();
  const storage = join(cacheDir, `models--${repo.replace("/", "--")}`);
  const revision = options.revision ?? "main";
  const flaw = pathFlaw(revision);
  if (flaw !== undefined) throw new LfmError("CONFIG_INVALID", `[@lfm/formats] "${revision}" is no revision of ${repo}: it ${flaw}`);
  if (options.offline) return cachedFolder(repo, storage, revision);
  try {
    return await pull({ repo, storage }, revision, options);
  } catch (cause) {
    throw typedError(repo, revision, cause);
  }
}

async function pull(repo: CachedRepo, revision: string, options: PullOptions): Promise<string> {
  const { hubUrl, signal } = options;
  const token = options.token ?? process.env.HF_TOKEN;
  const base = options.fetch ?? fetch;
  const access = {
    ...(hubUrl === undefined ? {} : { hubUrl }),
    ...(token ? { accessToken: token } : {}),
    fetch: ((input, init) => base(input, { ...init, ...(signal ? { signal } : {}) })) as typeof fetch,
  };
  const { sha } = await modelInfo({ name: repo.repo, revision, additionalFields: ["sha"], ...access });
  if (!/^[0-9a-f]{40}$/.test(sha)) throw new LfmError("FILE_IO", `[@lfm/formats] the hub names no commit of ${repo.repo}`);
  const listed: ListFileEntry[] = [];
  for await (const entry of listFiles({ repo: repo.repo, revision: sha, recursive: true, ...access })) {
    if (entry.type === "file") listed.push(entry);
  }
  const wanted = wantedFiles(
    listed.map((f) => f.path),
    options.allow,
  );
  if (!wanted.some((path) => path.endsWith(".safetensors"))) throw noSafetensors(repo.repo, listed);
  const files = listed.filter((f) => wanted.includes(f.path));
  for (const file of files) checkRepoPath(file.path);
  const total = files.reduce((n, f) => n + f.size, 0);
  let done = 0;
  // Small files first: a wrong repository shows itself before gigabytes are on their way.
  for (const file of files.sort((a, b) => a.size - b.size)) {
    throwIfAborted(signal, `[@lfm/formats] pull ${repo.repo}`);
    const before = done;
    const report = (bytes: number): void => {
      done = before + bytes;
      options.progress?.({ phase: `pull ${repo.repo}`, done, total, unit: "byte" });
    };
    await cacheFile(repo, sha, file, access, report);
    report(file.size);
  }
  recordRef(repo, revision, sha);
  return join(repo.storage, "snapshots", sha);
}

const SUPPORTING = /^[^/]+\.(json|txt|jinja|model)$|^\d+_\w+\/config\.json$/;

/**
 * What a model needs of the files of its repository: one set of safetensors weights (`model.safetensors`, else the shards of an index,
 * else `adapter_model.safetensors`, else all of the top folder) with the json, txt and tokenizer files of the top folder
 * and the configs of sentence-transformers modules. With `allow`, what that lets through instead.
 */
export function wantedFiles(paths: readonly string[], allow?: (path: string) => boolean): readonly string[] {
  if (allow) return paths.filter(allow);
  const top = paths.filter((p) => /^[^/]+\.safetensors$/.test(p));
  const shards = top.filter((p) => /^model-\d+-of-\d+\.safetensors$/.test(p));
  const weights = ["model.safetensors", shards, "adapter_model.safetensors"].map((w) =>
    typeof w === "string" ? top.filter((p) => p === w) : w,
  );
  const chosen = weights.find((w) => w.length > 0) ?? top;
  return paths.filter((p) => chosen.includes(p) || SUPPORTING.test(p));
}

function noSafetensors(repo: string, files: readonly ListFileEntry[]): LfmError {
  const pickled = files.some((f) => /\.(bin|pt|pth|ckpt)$/.test(f.path));
  return new LfmError("FILE_FORMAT", `[@lfm/formats] ${repo} has no safetensors weights`, {
    hint: pickled
      ? "pickled weights can run code and are not read; look for a revision with safetensors (refs/pr/…)"
      : "it holds no weights of a supported form",
  });
}

function cachedFolder(repo: string, storage: string, revision: string): string {
  const ref = join(storage, "refs", revision);
  const sha = existsSync(ref) ? readFileSync(ref, "utf8").trim() : revision;
  const folder = join(storage, "snapshots", sha);
  if (!/^[0-9a-f]{40}$/.test(sha) || !existsSync(folder))
    throw new LfmError("FILE_IO", `[@lfm/formats] ${repo} (${revision}) is not in the cache`, { hint: "pull it once without offline" });
  readWeights(folder);
  return folder;
}

function defaultCacheDir(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env;
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
  return HF_HUB_CACHE ?? HUGGINGFACE_HUB_CACHE ?? join(home, "hub");
}

function typedError(repo: string, revision: string, cause: unknown): LfmError {
  if (cause instanceof LfmError) return cause;
  const name = cause instanceof Error ? cause.name : "";
  if (name === "AbortError") return new LfmError("ABORTED", `[@lfm/formats] pull ${repo}: stopped on request`, { cause });
  if (cause instanceof HubApiError) {
    const { statusCode } = cause;
    if (statusCode === 401 || statusCode === 403)
      return new LfmError("CAPABILITY_MISSING", `[@lfm/formats] ${repo} is gated, private or not there (HTTP ${statusCode})`, {
        cause,
        hint: `check the name; for a gated model accept its terms on https://huggingface.co/${repo} and set HF_TOKEN`,
        details: { statusCode },
      });
    if (statusCode === 404)
      return new LfmError("CONFIG_INVALID", `[@lfm/formats] the hub has no "${repo}" with a revision "${revision}"`, {
        cause,
        details: { statusCode },
      });
  }
  if (name === "TypeError" && /access token/i.test((cause as Error).message))
    return new LfmError("CONFIG_INVALID", "[@lfm/formats] a token of the hub starts with hf_", { cause });
  return new LfmError("FILE_IO", `[@lfm/formats] cannot pull ${repo}: ${cause instanceof Error ? cause.message : String(cause)}`, {
    cause,
    hint: "check the network and pull again: what came so far is kept",
  });
}
