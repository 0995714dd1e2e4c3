import type { Delta, HostTensor, Model, Site } from "@lfm/core";
import { Codebook, type Place } from "./codebook.js";
import type { Editor } from "./in-turn.js";
import { type EditingOutput, type EditRequest, namedCurves, requireRequests } from "./inputs.js";
import { type Standing, StandingMemory } from "./standing-memory.js";

/** What a fact adds to a codebook. */
interface BookEntry {
  readonly place: Place;
  /** f32[in] */
  readonly key: Float32Array;
  /** What is written down beside the value, see {@link Codebook}. */
  readonly answer: readonly number[];
  /** f32[out] */
  readonly value: Float32Array;
  readonly losses: EditingOutput["curves"][string];
}

/** Finds what a fact adds. `part` — number of the fact, and of how many. @throws {LfmError} what its search throws */
type BookWriter = (book: Codebook, request: EditRequest, part: readonly [number, number]) => Promise<BookEntry>;

/** A method whose memory is one codebook beside a site. */
interface CodebookMethod {
  readonly model: Model;
  readonly site: Site;
  /** `paradigm/id` */
  readonly method: string;
  delta(tensors: Readonly<Record<string, HostTensor>>): Delta;
  /** Writers work on the model below the codebook: neither keys nor searches see it. */
  open(below: Pick<Standing<Codebook>, "below" | "which">): Promise<BookWriter>;
  dispose(): Promise<void>;
}

/** Writes facts one after the other into a codebook; the delta of an edit holds the entries that it changed. */
export function codebookEditor({ model, site, method, delta, open, dispose }: CodebookMethod): Editor {
  const standing = new StandingMemory(model, site, { method, infix: ".codebook.", read: Codebook.of, delta });
  const { in: width, out } = site.weight!;
  return {
    edit: async (requests, previous = []) => {
      requireRequests(requests);
      const stands = standing.open(previous);
      const write = await open(stands);
      let book = stands.memory ?? Codebook.empty(width, out);
      const changed = new Set<number>();
      const curves = [];
      for (const [i, request] of requests.entries()) {
        const { place, key, answer, value, losses } = await write(book, request, [i, requests.length]);
        book = book.write(place, key, answer, value);
        for (const at of [place.at, ...(place.shrunk ? [place.shrunk.at] : [])]) changed.add(at);
        curves.push(losses);
      }
      const made = delta(book.tensors(site.path, [...changed]));
      const edited = standing.keep(stands, previous, made, book, book.tensors(site.path));
      return { delta: made, model: edited, curves: namedCurves(curves) };
    },
    dispose,
  };
}
