import type { Hit } from "@lfm/data";

/** The k best of a stream of (document number, score): higher score first, then lower document number. */
export class TopK {
  private readonly docs: Int32Array;
  private readonly scores: Float64Array;
  private size = 0;

  constructor(readonly k: number) {
    this.docs = new Int32Array(k);
    this.scores = new Float64Array(k);
  }

  /** What a later document must exceed to enter. */
  get threshold(): number {
    return this.size < this.k ? Number.NEGATIVE_INFINITY : this.scores[0]!;
  }

  /** Takes the document if it belongs to the best so far. Returns whether it entered. */
  offer(doc: number, score: number): boolean {
    if (this.size < this.k) {
      this.up(this.size++, doc, score);
      return true;
    }
    if (this.k === 0 || !this.worse(this.docs[0]!, this.scores[0]!, doc, score)) return false;
    this.down(doc, score);
    return true;
  }

  /** Best first. @param ids name of each document number */
  hits(ids: readonly string[]): Hit[] {
    const order = Array.from({ length: this.size }, (_, i) => i);
    order.sort((a, b) => this.scores[b]! - this.scores[a]! || this.docs[a]! - this.docs[b]!);
    return order.map((i) => ({ id: ids[this.docs[i]!]!, score: this.scores[i]! }));
  }

  private worse(docA: number, scoreA: number, docB: number, scoreB: number): boolean {
    return scoreA < scoreB || (scoreA === scoreB && docA > docB);
  }

  private up(from: number, doc: number, score: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.worse(doc, score, this.docs[parent]!, this.scores[parent]!)) break;
      this.docs[at] = this.docs[parent]!;
      this.scores[at] = this.scores[parent]!;
      at = parent;
    }
    this.docs[at] = doc;
    this.scores[at] = score;
  }

  private down(doc: number, score: number): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && this.worse(this.docs[child + 1]!, this.scores[child + 1]!, this.docs[child]!, this.scores[child]!))
        child++;
      if (!this.worse(this.docs[child]!, this.scores[child]!, doc, score)) break;
      this.docs[at] = this.docs[child]!;
      this.scores[at] = this.scores[child]!;
      at = child;
    }
    this.docs[at] = doc;
    this.scores[at] = score;
  }
}
