import { LfmError, type Model } from "@lfm/core";

/** The name under which a model is given invented items. */
export type ItemField = "features" | "pixels";

/** What is invented for a model. */
export interface InventedItems {
  /** Shape of one, without the batch. */
  readonly item: readonly number[];
  readonly field: ItemField;
}

/**
 * What a data-free method must invent.
 * @param method id, for the message
 * @throws {LfmError} CONFIG_INVALID where the shape was not given; CAPABILITY_MISSING for a model of text, whose tokens cannot be invented by a gradient
 */
export function inventedItems(method: string, { info }: Model, item: readonly number[] | undefined): InventedItems {
  if (info.input !== "features" && info.input !== "pixels")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/distillation] ${method} invents numbers, and ${info.architecture} reads ${info.input}`,
      {
        hint: "give a teacher of pictures or of features",
      },
    );
  if (!item)
    throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] ${method} must know the shape of one input`, {
      hint: "give itemShape, e.g. [1, 28, 28]",
    });
  return { item, field: info.input };
}
