import { type Engine, i32, LfmError, type Model } from "@lfm/core";
import { calibrationText, idsOfText, type QuantizedBase, type QuantizedBaseOptions, quantizeBase, type TextRules } from "@lfm/models";
import { taskKind } from "@lfm/tuning";
import type { JobContext, JobRequest } from "../program/job.js";
import { formatBytes } from "../render/table.js";
import { type BaseForm, baseForms } from "./base-flag.js";
import { engineOf } from "./engine.js";

interface Opened {
  readonly name: string;
  readonly model: Model;
  readonly text: TextRules | undefined;
}

/** What a base is for decides which copies of its weights there are; answers are completions of a language model, else of many rows at a time. */
export type BaseUse = NonNullable<QuantizedBaseOptions["use"]> | "answers";

/** What `--base` asks for. */
export interface BaseWish {
  readonly engine: () => Promise<Engine>;
  readonly form: BaseForm;
  readonly use: BaseUse;
}

/** The wish of a request; undefined where weights stay f32. */
export function baseWish(request: JobRequest, use: BaseUse): BaseWish | undefined {
  const form = baseForms.find((f) => f === request.base);
  return form && { form, use, engine: () => engineOf(request) };
}

/** A model with its frozen weights as `--base` asks for, and what that saves said. */
export async function withBase<M extends Opened>(opened: M, wish: BaseWish | undefined, job: JobContext): Promise<M> {
  if (!wish) return opened;
  const { model, ...sizes } = await quantized(opened, wish);
  job.log(`${opened.name}: ${sizes.columns}; ${formatBytes(sizes.bytes)} instead of ${formatBytes(sizes.plainBytes)}`);
  return { ...opened, model };
}

async function quantized(
  { name, model, text }: Opened,
  { engine, form, use }: BaseWish,
): Promise<QuantizedBase & { readonly columns: string }> {
  if (model.info.input !== "tokens")
    throw new LfmError("CAPABILITY_MISSING", `lfm: --base is for models of text, ${name} reads ${model.info.input}`, {
      hint: "leave --base out",
    });
  const ids = text ? idsOfText(text, calibrationText).slice(0, Math.min(CALIBRATION, model.info.maxLength ?? CALIBRATION)) : undefined;
  const found = await quantizeBase(await engine(), model, {
    use: use !== "answers" ? use : taskKind(model) === "language" ? "decoding" : "batches",
    bits: form === "int8" ? 8 : 4,
    ...(ids ? { calibration: i32(ids, [1, ids.length]) } : {}),
  });
  const on = ids === undefined ? "" : `, calibrated on ${ids.length} tokens of a text of its own`;
  const exact = found.exact > 0 ? `, ${Math.round(100 * found.exact)} % of them exactly` : "";
  return { ...found, columns: `weights in ${form === "int8" ? 8 : 4} bits${exact}${on}` };
}

/** Tokens that the outlier columns are found on. */
const CALIBRATION = 256;
