import { LfmError } from "@lfm/core";
import type { GgufScalar, GgufValue } from "./header.js";

/** The metadata of a file, each asked for by name and type. What nobody asked for is known in the end. */
export class GgufFacts {
  readonly file: string;
  private readonly metadata: ReadonlyMap<string, GgufValue>;
  private readonly asked = new Set<string>();

  constructor(file: string, metadata: ReadonlyMap<string, GgufValue>) {
    this.file = file;
    this.metadata = metadata;
  }

  fail(message: string, hint?: string): LfmError {
    return new LfmError("FILE_FORMAT", `[@lfm/formats] ${this.file}: ${message}`, hint === undefined ? {} : { hint });
  }

  /** Keys with a prefix that were never asked for. */
  unread(prefix: string): readonly string[] {
    return [...this.metadata.keys()].filter((key) => key.startsWith(prefix) && !this.asked.has(key));
  }

  /** Marks keys as known, whatever they hold. */
  passOver(keys: readonly string[]): void {
    for (const key of keys) this.asked.add(key);
  }

  /** Whether the file says anything of it. */
  has(key: string): boolean {
    return this.metadata.has(key);
  }

  text(key: string): string | undefined {
    return this.get(key, "a text", (v): v is string => typeof v === "string");
  }

  flag(key: string): boolean | undefined {
    return this.get(key, "true or false", (v): v is boolean => typeof v === "boolean");
  }

  number(key: string): number | undefined {
    return this.get(key, "a number", (v): v is number => typeof v === "number" && Number.isFinite(v));
  }

  /** A number ≥ 0 without fraction. */
  count(key: string): number | undefined {
    return this.get(key, "a whole number", (v): v is number => typeof v === "number" && Number.isSafeInteger(v) && v >= 0);
  }

  /** A positive number without fraction, or a list of them, one per layer, that are all the same. */
  size(key: string): number | undefined {
    const value = this.get(key, "a positive whole number", (v): v is number | readonly number[] => {
      const each = Array.isArray(v) ? v : [v];
      return each.length > 0 && each.every((n) => typeof n === "number" && Number.isSafeInteger(n) && n > 0);
    });
    if (value === undefined || typeof value === "number") return value;
    if (value.some((n) => n !== value[0])) throw this.fail(`${key} differs from layer to layer: no architecture here can do that`);
    return value[0];
  }

  texts(key: string): readonly string[] | undefined {
    return this.get(key, "a list of texts", listOf((v) => typeof v === "string") as (v: GgufValue) => v is readonly string[]);
  }

  numbers(key: string): readonly number[] | undefined {
    return this.get(key, "a list of numbers", listOf((v) => typeof v === "number") as (v: GgufValue) => v is readonly number[]);
  }

  /** @throws {LfmError} FILE_FORMAT where the file does not say it */
  need<T>(key: string, value: T | undefined): T {
    if (value === undefined) throw this.fail(`the metadata have no ${key}`);
    return value;
  }

  private get<T extends GgufValue>(key: string, kind: string, is: (value: GgufValue) => value is T): T | undefined {
    this.asked.add(key);
    const value = this.metadata.get(key);
    if (value === undefined) return undefined;
    if (!is(value)) throw this.fail(`${key} is no ${kind.replace(/^an? /, "")}`);
    return value;
  }
}

function listOf(is: (value: GgufScalar) => boolean): (value: GgufValue) => boolean {
  return (value) => Array.isArray(value) && value.every(is);
}
