import { tooMany } from "./api-error.js";

/** Texts that wait to be embedded, over all requests. */
export class EmbeddingQueue {
  private waiting = 0;
  private last: Promise<unknown> = Promise.resolve();

  /** Runs one piece of work after the others. @throws {ApiError} 429 where too many texts wait */
  async run<T>(texts: number, most: number, work: () => Promise<T>): Promise<T> {
    if (this.waiting > 0 && this.waiting + texts > most) throw tooMany(`${this.waiting} texts wait to be embedded; come again`);
    this.waiting += texts;
    const own = this.last.then(work);
    this.last = own.catch(() => {});
    try {
      return await own;
    } finally {
      this.waiting -= texts;
    }
  }
}
