import { spawn } from "node:child_process";
import { expect, it } from "vitest";

const launcher = new URL("../../bin/lfm.js", import.meta.url).pathname;

it("SIGTERM lets lfm serve end what it answers, and it ends well", async () => {
  const child = spawn(process.execPath, [launcher, "serve", "--model", "zoo-lm", "--port", "0"], { stdio: ["ignore", "ignore", "pipe"] });
  try {
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    const ended = new Promise<number | string>((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal ?? "")));
    const url = (): string | undefined => /http:\S+/.exec(said)?.[0];
    while (child.exitCode === null && url() === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
    const body = JSON.stringify({ model: "zoo-lm", prompt: "home", max_tokens: 60, logit_bias: { "0": -100 }, stream: true });
    const answer = await fetch(`${url()}/completions`, { method: "POST", body, headers: { "content-type": "application/json" } });
    expect(answer.status, said).toBe(200);
    child.kill("SIGTERM");
    expect(await answer.text()).toMatch(/"finish_reason":"(length|stop)"[^\n]*\n\ndata: \[DONE\]\n\n$/);
    expect(await ended).toBe(0);
  } finally {
    child.kill("SIGKILL");
  }
});
