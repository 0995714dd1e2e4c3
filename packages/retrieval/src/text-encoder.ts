import type { HostTensor } from "@lfm/core";
import type { Passage } from "@lfm/data";

/** Turns texts into vectors; `createEncoder` of @lfm/models gives one. */
export interface TextEncoder {
  /**
   * f32[texts, dimension]
   * @param options `role`: what the texts are, for models that put another prompt before each
   */
  encode(texts: readonly string[], options?: { readonly role?: "query" | "document" }): Promise<HostTensor>;
}

/** The searched text of a passage. */
export function passageText(passage: Passage): string {
  return passage.title === undefined || passage.title === "" ? passage.text : `${passage.title} ${passage.text}`;
}
