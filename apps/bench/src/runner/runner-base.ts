/** The folder of worker entries: `src/` from the sources (this file lies one deeper), `dist/` from the build (all files lie there). */
export function runnerBase(): URL {
  const here = new URL(import.meta.url);
  return here.pathname.endsWith(".ts") ? new URL("../", here) : new URL("./", here);
}
