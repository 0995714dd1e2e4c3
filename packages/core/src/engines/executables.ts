import type { Graph } from "../graph.js";
import type { CompileOptions, Executable } from "./executable.js";

/** What one engine has compiled and not got back, and which of it several callers share. */
export class Executables {
  private readonly open = new Set<Executable>();
  private readonly shared = new Map<string, { readonly executable: Promise<Executable>; users: number }>();
  private readonly ids = new WeakMap<object, number>();
  private count = 0;

  /** The same executable, released at most once and forgotten then. */
  add(executable: Executable): Executable {
    const held: Executable = {
      run: (feeds, into) => executable.run(feeds, into),
      dispose: async () => {
        if (this.open.delete(held)) await executable.dispose();
      },
    };
    this.open.add(held);
    return held;
  }

  /**
   * One executable for graphs of equal structure on the same frozen weights under the same options, made where there is none yet; what comes
   * back is one user's hold on it, and it is released with the last.
   */
  async share(graph: Graph, options: CompileOptions, make: () => Promise<Executable>): Promise<Executable> {
    const key = `${options.threads ?? ""}|${graph.frozen.map((f) => this.idOf(f.weight)).join(",")}|${graph.structure}`;
    const entry = this.shared.get(key) ?? { executable: make(), users: 0 };
    this.shared.set(key, entry);
    entry.users++;
    const forget = (): void => {
      if (this.shared.get(key) === entry) this.shared.delete(key);
    };
    try {
      const executable = await entry.executable;
      let released = false;
      return {
        run: (feeds, into) => executable.run(feeds, into),
        dispose: async () => {
          if (released) return;
          released = true;
          if (--entry.users > 0) return;
          forget();
          await executable.dispose();
        },
      };
    } catch (error) {
      forget();
      throw error;
    }
  }

  async dispose(): Promise<void> {
    this.shared.clear();
    await Promise.all([...this.open].map((e) => e.dispose()));
  }

  private idOf(weight: object): number {
    let id = this.ids.get(weight);
    if (id === undefined) {
      id = this.count++;
      this.ids.set(weight, id);
    }
    return id;
  }
}
