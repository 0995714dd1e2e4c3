/** Sentences of about 22 tokens that both sides make by the same rule (theirs/sentences.py). */
const WORDS = (
  "the model learns a small part of every task and keeps what it knew before while people read long reports about rivers trees engines music " +
  "winter markets bread ships doctors stars gardens letters bridges"
).split(" ");

export function sentences(n: number): string[] {
  return Array.from(
    { length: n },
    (_, i) => `${Array.from({ length: 14 + ((i * 7) % 14) }, (_, j) => WORDS[(i * 31 + j * (3 + (i % 5))) % WORDS.length]!).join(" ")}.`,
  );
}
