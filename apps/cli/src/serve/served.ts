import type { Tokenizer } from "@lfm/formats";
import type { BatchGenerator, Encoder, TextRules } from "@lfm/models";
import { ApiError } from "./api-error.js";

interface ServedAs {
  /** What a request calls it. */
  readonly id: string;
  /** Of an adapter: the model that it is on. */
  readonly parent?: string;
}

/** A language model, or an adapter on one. Those that are answered in one batch have one generator. */
export interface ServedLanguageModel extends ServedAs {
  readonly kind: "language";
  readonly generator: BatchGenerator;
  /** Of those in the generator's pool. */
  readonly adapter?: string;
  readonly text: TextRules;
}

/** An encoder of sentences. */
interface ServedEncoder extends ServedAs {
  readonly kind: "encoder";
  readonly encoder: Encoder;
  readonly tokenizer: Tokenizer;
}

export type Served = ServedLanguageModel | ServedEncoder;

/** @throws {ApiError} 404 for a name that nothing here has, 400 for a model of another kind */
export function servedAs<K extends Served["kind"]>(served: readonly Served[], id: string, kind: K): Extract<Served, { kind: K }> {
  const found = served.find((s) => s.id === id);
  if (!found)
    throw new ApiError(404, "invalid_request_error", `there is no model "${id}"; there are: ${served.map((s) => s.id).join(", ")}`, {
      param: "model",
      code: "model_not_found",
    });
  if (isKind(found, kind)) return found;
  const does = found.kind === "language" ? "continues text and embeds none" : "embeds text and continues none";
  throw new ApiError(400, "invalid_request_error", `"${id}" ${does}`, { param: "model", code: "model_not_supported" });
}

function isKind<K extends Served["kind"]>(served: Served, kind: K): served is Extract<Served, { kind: K }> {
  return served.kind === kind;
}
