import { LfmError } from "./errors.js";
import type { AnyMethod } from "./method.js";
import { type FieldInput, type InputKind, type InputKindName, inputsOf, isRead } from "./method-inputs.js";

/** Who has values of one kind. */
export interface Provider {
  readonly kind: InputKindName;
  readonly provide: (input: FieldInput) => unknown;
}

/** Checked by the compiler: what is provided is of the kind's type. Undefined is what is not there of an optional input. */
export function provider<T>(kind: InputKind<T>, provide: (input: FieldInput) => T | undefined | Promise<T | undefined>): Provider {
  return { kind: kind.name, provide };
}

/**
 * What a method is given, by field, provided in the order of its declaration: what it does not read under these options is not asked for.
 * @param who provides, for messages
 * @throws {LfmError} CAPABILITY_MISSING for an input that nobody provides, and what providers throw
 */
export async function provideInputs(
  who: string,
  method: Pick<AnyMethod, "id" | "inputs">,
  config: object,
  providers: readonly Provider[],
): Promise<Record<string, unknown>> {
  const kinds = new Map(providers.map((p) => [p.kind, p.provide]));
  checkProvided(who, method, config, [...kinds.keys()]);
  const values: Record<string, unknown> = {};
  for (const input of inputsOf(method)) {
    const value = isRead(input, config) ? await kinds.get(input.kind)?.(input) : undefined;
    if (value !== undefined) values[input.field] = value;
  }
  return values;
}

/** Whether there is a provider for all that a method must have, before any work. @throws {LfmError} CAPABILITY_MISSING */
export function checkProvided(
  who: string,
  method: Pick<AnyMethod, "id" | "inputs">,
  config: object,
  kinds: readonly InputKindName[],
): void {
  const missing = inputsOf(method).find((i) => !i.optional && isRead(i, config) && !kinds.includes(i.kind));
  if (missing)
    throw new LfmError("CAPABILITY_MISSING", `${who} has no ${missing.kind} to give to ${method.id}`, {
      details: { input: missing.field, provided: kinds },
    });
}
