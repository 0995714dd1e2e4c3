import { type Engine, i32 } from "@lfm/core";
import { calibrationText, idsOfText, type LoadedModel, type QuantizedBaseOptions, quantizeBase } from "@lfm/models";

/** The model of a folder in 8 bits, as `--base int8` makes it. */
export async function inBytes(
  engine: Engine,
  { model, text }: LoadedModel,
  use: NonNullable<QuantizedBaseOptions["use"]>,
): Promise<LoadedModel["model"]> {
  const ids = text ? idsOfText(text, calibrationText).slice(0, 256) : [];
  return (await quantizeBase(engine, model, { use, ...(ids.length > 0 ? { calibration: i32(ids, [1, ids.length]) } : {}) })).model;
}
