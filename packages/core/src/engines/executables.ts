import type { Executable } from "./engine.js";

/** The executables that an engine has given out and not got back. */
export class Executables {
  private readonly open = new Set<Executable>();

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

  async dispose(): Promise<void> {
    await Promise.all([...this.open].map((e) => e.dispose()));
  }
}
