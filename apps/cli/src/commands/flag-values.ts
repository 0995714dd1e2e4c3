import { InvalidArgumentError } from "commander";

/** A positive integer. */
export function readCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("It must be a positive whole number.");
  return value;
}

/** An integer ≥ 0. */
export function readSeed(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < 0) throw new InvalidArgumentError("It must be a whole number from 0.");
  return value;
}

/** Reads values of an option that may be given several times; they stand one behind the other. */
export interface Collector<T> {
  (text: string, before?: readonly T[]): T[];
  readonly collects: true;
}

/** Makes a reader collect: what it reads of each time is joined. */
export function collecting<T>(read: (text: string) => readonly T[]): Collector<T> {
  return Object.assign((text: string, before: readonly T[] = []) => [...before, ...read(text)], { collects: true } as const);
}

/** Whether an option with this reader may be given several times. */
export function collects(read: object): boolean {
  return "collects" in read;
}

/** Integers separated by commas. */
export const readSeeds = collecting((text) => text.split(",").map(readSeed));

/** A number within [0, ∞). */
export function readAmount(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0)) throw new InvalidArgumentError("It must be a number from 0.");
  return value;
}

/** A number above 1. */
export function readFactor(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value > 1) || !Number.isFinite(value)) throw new InvalidArgumentError("It must be a number above 1.");
  return value;
}

/** A share of all, 0..1. */
export function readShare(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= 1)) throw new InvalidArgumentError("It must be a number from 0 to 1.");
  return value;
}

/** Any number. */
export function readNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It must be a number.");
  return value;
}

/** Numbers separated by commas. */
export const readNumbers = collecting((text) => text.split(",").map(readNumber));

/** A list separated by commas. */
export const readList = collecting((text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean),
);

/** The text as it is, each time one more. */
export const collect = collecting((text) => [text]);

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 };

/** `512MiB`, `5GB`, `1e9`: bytes. */
export function readBytes(text: string): number {
  const [, amount, unit] = /^\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([kmg]?(?:i?b)?)\s*$/i.exec(text) ?? [];
  const factor = unit === undefined ? undefined : UNITS[unit.toLowerCase().replace(/^([kmg]?)b$/, "$1")];
  if (amount === undefined || factor === undefined || Number(amount) <= 0)
    throw new InvalidArgumentError("It must be a size such as 512MiB or 5GB.");
  return Math.round(Number(amount) * factor);
}
