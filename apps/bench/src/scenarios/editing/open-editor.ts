import type { HostTensor, Model } from "@lfm/core";
import { type Editor, prepareEditor } from "@lfm/editing";
import type { Zoo } from "@lfm/models/zoo";
import type { CellContext, CellMethod } from "../../scenario.js";
import { editPrefixes, keyCorpus } from "./requests.js";

/** A cell's method made ready for the zoo's model. Progress counts edits, not the steps inside one. */
export function openEditor(zoo: Zoo, { method, config }: CellMethod, context: CellContext): Promise<Editor> {
  const { seed } = context;
  const common = { model: zoo.lm, parent: zoo.lmHash, corpus: keyCorpus(zoo.world, seed), prefixes: editPrefixes(zoo.world, seed) };
  return prepareEditor(method, common, config, { ...context, progress: () => {} });
}

/** Weights as they are, to tell later whether a bit of them has changed. */
export function copyOf(model: Model): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(model.params).map(([name, w]) => [name, { ...(w as HostTensor), data: (w as HostTensor).data.slice() }]),
  );
}

export function sameWeights(model: Model, copy: Readonly<Record<string, HostTensor>>): boolean {
  return Object.entries(copy).every(([name, t]) => sameBits(t.data, (model.params[name] as HostTensor).data));
}

export function sameBits(a: HostTensor["data"], b: HostTensor["data"]): boolean {
  const bytes = (t: HostTensor["data"]): Uint8Array => new Uint8Array(t.buffer, t.byteOffset, t.byteLength);
  return Buffer.compare(bytes(a), bytes(b)) === 0;
}
