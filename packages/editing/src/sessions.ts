interface Disposable {
  dispose(): Promise<void>;
}

/**
 * What edits of one model have in common: compiled steps, the covariance of keys and its factor. Compiling takes longer than an edit of a
 * small model: make one of these, hand it to every edit, dispose it at the end.
 */
export class EditSessions {
  private readonly made = new Map<string, Promise<unknown>>();
  private readonly disposables: Disposable[] = [];
  private readonly ids = new WeakMap<object, number>();
  private count = 0;

  /** The thing of this name that belongs to these objects (model, engine, corpus), made where it is not there yet. */
  get<T>(name: string, owners: readonly object[], make: () => Promise<T>): Promise<T> {
    const key = `${name}|${owners.map((o) => this.idOf(o)).join()}`;
    const there = this.made.get(key);
    if (there) return there as Promise<T>;
    const making = make();
    this.made.set(key, making);
    // What failed, or was stopped, is made again by the next that asks.
    making.then(
      (thing) => {
        if (isDisposable(thing)) this.disposables.push(thing);
      },
      () => this.made.delete(key),
    );
    return making;
  }

  /** Frees every compiled step; the next edit would make them anew. */
  async dispose(): Promise<void> {
    this.made.clear();
    for (const thing of this.disposables.splice(0)) await thing.dispose();
  }

  private idOf(owner: object): number {
    let id = this.ids.get(owner);
    if (id === undefined) {
      id = this.count++;
      this.ids.set(owner, id);
    }
    return id;
  }
}

function isDisposable(x: unknown): x is Disposable {
  return typeof x === "object" && x !== null && "dispose" in x;
}

/** Runs `body` with the sessions given, or with some of its own that end with it. */
export async function withSessions<T>(given: EditSessions | undefined, body: (sessions: EditSessions) => Promise<T>): Promise<T> {
  if (given) return body(given);
  const own = new EditSessions();
  try {
    return await body(own);
  } finally {
    await own.dispose();
  }
}
