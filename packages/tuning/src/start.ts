/** What a training begins with: fresh tensors, or those of a delta that it goes on from, and members of a composite. */
import { type Delta, type HostTensor, isMemberTensor, LfmError, type Model, widenToF32 } from "@lfm/core";
import { isHeadParameter } from "@lfm/models";

/** What a method learns, before the first step. */
export interface Start {
  readonly learned: Readonly<Record<string, HostTensor>>;
  /** Tensors that the delta carries and no training moves; {@link DeltaForm.frozen} must know their names. */
  readonly carried?: Readonly<Record<string, HostTensor>>;
}

/**
 * A member without the head that it answered its own task by: the composite has one of its own.
 * @throws {LfmError} CONFIG_INVALID for a member that replaces other parameters of the base
 */
export function withoutHead(name: string, member: Delta, { info }: Model): Delta {
  const replaced = Object.keys(member.tensors).find((tensor) => Object.hasOwn(info.params, tensor) && !isHeadParameter(tensor));
  if (replaced !== undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] "${name}" has a "${replaced}" of its own, and no composite can have several`, {
      hint: "give members that leave the base's parameters alone",
    });
  return { ...member, tensors: Object.fromEntries(Object.entries(member.tensors).filter(([tensor]) => !isHeadParameter(tensor))) };
}

/** A start, with the buffers that a delta before it has moved. */
export interface AnyStart extends Start {
  readonly buffers?: Readonly<Record<string, HostTensor>>;
}

/**
 * The start of a fresh delta with the values of one that was trained before. Parameters of the base that this one replaced stay replaced, also
 * where they learn no more.
 * @throws {LfmError} PARENT_MISMATCH
 */
export function goneOnFrom(
  from: Delta | undefined,
  method: string,
  fresh: Start,
  begin: (tensors: Start["learned"]) => Start["learned"],
  model: Model,
): AnyStart {
  if (!from) return fresh;
  const mismatch = (what: string): LfmError =>
    new LfmError("PARENT_MISMATCH", `[@lfm/tuning] ${method} cannot go on from this delta: ${what}`, {
      hint: "give the options that it was made with, or start afresh",
    });
  if (from.method !== method) throw mismatch(`it was made by ${from.method}`);
  const own = Object.entries(from.tensors).flatMap(([name, t]) => (isMemberTensor(name) ? [] : [[name, widenToF32(t)] as const]));
  const left = new Map(Object.entries(begin(Object.fromEntries(own))));
  const taken = (tensors: Start["learned"]): Record<string, HostTensor> =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, own]) => {
        const found = left.get(name);
        left.delete(name);
        // What learns in full now may have been frozen before.
        if (!found && Object.hasOwn(model.info.params, name)) return [name, own];
        if (!found) throw mismatch(`it has no "${name}"`);
        if (found.shape.join() !== own.shape.join()) throw mismatch(`its "${name}" is [${found.shape}], here it is [${own.shape}]`);
        return [name, found];
      }),
    );
  const [learned, carried] = [taken(fresh.learned), taken(fresh.carried ?? {})];
  const buffers: Record<string, HostTensor> = {};
  for (const [name, t] of left) {
    const info = model.info.params[name];
    if (!info) throw mismatch(`it has "${name}", which these options do not make`);
    (info.trainable ? carried : buffers)[name] = t;
  }
  return { learned, carried, buffers };
}
