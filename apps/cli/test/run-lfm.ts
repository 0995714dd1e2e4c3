import { main } from "../src/main.js";

/** The command line with what it prints, in this process. */
export async function runLfm(...argv: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ["", ""];
  const code = await main(argv, { stdout: { write: (t) => (out += t) }, stderr: { write: (t) => (err += t) }, env: {} });
  return { code, out, err };
}

/** What a command that succeeds prints with --json. @throws {Error} with what it complained about */
export async function lfmJson(...argv: string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await runLfm(...argv, "--json", "--quiet");
  if (code !== 0) throw new Error(err);
  return JSON.parse(out) as Record<string, unknown>;
}
