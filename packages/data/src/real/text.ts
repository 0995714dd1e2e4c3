import { type DatasetLocation, readPinnedText } from "./folder.js";

/** Running text for language modelling. */
export interface TextSet {
  readonly name: "wikitext2" | "tinyshakespeare";
  readonly splits: { readonly train: string; readonly val: string; readonly test: string };
}

/** Loads a text; the split rule of each stands in its manifest. @throws {LfmError} FILE_IO, FILE_FORMAT */
export async function loadText(name: TextSet["name"], location: DatasetLocation = {}): Promise<TextSet> {
  if (name === "wikitext2") {
    const [valid, test] = await Promise.all(["valid.txt", "test.txt"].map((file) => readPinnedText(name, file, location)));
    const [train, val] = cutAtLines(valid!.text, [0.9]);
    return { name, splits: { train: train!, val: val!, test: test!.text } };
  }
  const { text } = await readPinnedText(name, "input.txt", location);
  const [train, val, test] = cutAtLines(text, [0.8, 0.9]);
  return { name, splits: { train: train!, val: val!, test: test! } };
}

/** Cuts a text at the given shares of its length, each cut moved behind the next line break. The parts joined give the text. */
export function cutAtLines(text: string, shares: readonly number[]): string[] {
  const cuts = shares.map((share) => {
    const line = text.indexOf("\n", Math.floor(share * text.length));
    return line < 0 ? text.length : line + 1;
  });
  return [0, ...cuts].map((from, i) => text.slice(from, cuts[i] ?? text.length));
}
