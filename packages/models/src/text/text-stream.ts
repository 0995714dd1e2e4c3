import type { Tokenizer } from "@lfm/formats";
import type { StopTexts } from "./stop-texts.js";

/** What a decoder writes for bytes that are no character, or not yet. */
const BROKEN = "\uFFFD";

/** Text of a continuation piece by piece, as its tokens come: no half characters, nothing that may turn out to be a text that ends it. */
export class TextStream {
  private readonly tokenizer: Pick<Tokenizer, "decode">;
  private readonly stops: Pick<StopTexts, "safe">;
  private readonly ids: number[] = [];
  /** Tokens from here on are decoded together, for a token's text depends on those before it. */
  private from = 0;
  /** Tokens whose text has been taken. */
  private read = 0;
  private held = "";
  private shown = 0;

  constructor(tokenizer: Pick<Tokenizer, "decode">, stops: Pick<StopTexts, "safe">) {
    this.tokenizer = tokenizer;
    this.stops = stops;
  }

  /** @returns what can be shown now */
  push(token: number): string {
    this.ids.push(token);
    const [before, text] = [this.textOf(this.from, this.read), this.textOf(this.from)];
    if (text.length > before.length && !text.endsWith(BROKEN)) {
      this.held += text.slice(before.length);
      [this.from, this.read] = [this.read, this.ids.length];
    }
    const safe = this.stops.safe(this.held);
    const shown = this.held.slice(0, safe);
    this.held = this.held.slice(safe);
    this.shown += shown.length;
    return shown;
  }

  /** @param whole the text of all of it. @returns what of it was not shown */
  end(whole: string): string {
    return whole.slice(this.shown);
  }

  private textOf(from: number, to?: number): string {
    return this.tokenizer.decode(this.ids.slice(from, to), { skipSpecialTokens: true });
  }
}
