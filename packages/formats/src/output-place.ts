import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { LfmError } from "@lfm/core";

export interface OutputPlace {
  /** Replaces a result that is there. */
  readonly overwrite: boolean;
  /** Files and folders that are read; names that are neither may be among them. */
  readonly inputs: readonly string[];
}

/** One of these lies in every folder that this platform, transformers or PEFT writes. */
const RESULTS = /^(config|adapter_config|report)\.json$|\.safetensors$/;

/**
 * Refuses a place for a result where something would be lost: one that is taken, and with `overwrite` one that is read from, or that holds no
 * model and no adapter. An empty folder is free.
 * @throws {LfmError} CONFIG_INVALID
 */
export function requireFree(out: string, { overwrite, inputs }: OutputPlace): void {
  if (!existsSync(out)) return;
  const names = statSync(out).isDirectory() ? readdirSync(out) : undefined;
  if (names?.length === 0) return;
  const refuse = (message: string, hint: string): LfmError => new LfmError("CONFIG_INVALID", `[@lfm/formats] ${out} ${message}`, { hint });
  if (!overwrite) throw refuse("is there already", "choose another folder, or --overwrite");
  const place = realpathSync(out);
  const read = inputs.find((name) => existsSync(name) && `${realpathSync(name)}/`.startsWith(`${place}/`));
  if (read !== undefined) throw refuse(`cannot be replaced: ${read} is read from there`, "choose another folder");
  if (!names?.some((name) => RESULTS.test(name)))
    throw refuse("holds no model and no adapter: it is not replaced", "choose another folder, or remove it yourself");
}

/** Gives a finished folder its place, for which folders on the way are made. Where one stands there, it goes only after the new one is there. */
export function replaceFolder(from: string, to: string): void {
  if (!existsSync(to)) {
    mkdirSync(dirname(to), { recursive: true });
    renameSync(from, to);
    return;
  }
  const old = `${to}.replaced`;
  rmSync(old, { recursive: true, force: true });
  renameSync(to, old);
  renameSync(from, to);
  rmSync(old, { recursive: true, force: true });
}
