import type { Command } from "commander";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { resultPlace, withRunOptions } from "./compute-options.js";
import { collect, readNumber, readNumbers } from "./flag-values.js";
import { withStreamOptions } from "./stream-options.js";

/** `lfm task-vector add|negate|analogy`: streamed as a merge is. */
export function registerTaskVector(program: Command, invocation: Invocation): void {
  const group = program.command("task-vector").description("algebra of task vectors: learn several tasks, forget one, carry one over");
  const verb = (id: "add" | "negate" | "analogy", description: string): Command => {
    const command = withStreamOptions(withRunOptions(withCommonOptions(group.command(id)), "task-vector", id))
      .description(description)
      .argument("[out]", "folder of the result");
    command.action((out: string | undefined, options: VerbOptions) =>
      act(invocation, options, async (console) => {
        const { scale } = options;
        const place = await resultPlace(out, options);
        const request = {
          ...options,
          ...(scale === undefined ? {} : { scale: [scale].flat() }),
          ...(place === undefined ? {} : { out: place }),
          method: id,
        };
        return (await import("../program/run-verb.js")).runVerb("task-vector", request, console, invocation);
      }),
    );
    return command;
  };
  verb("add", "BASE + Σ scale·(MODEL − BASE)")
    .option("--base <model>", "the model all others were tuned from")
    .option("--model <model>", "a model whose task is learned: a folder, org/name on the hub, zoo-lm; give it several times", collect)
    .option("--scale <a[,b,…]>", "scale of the task vectors: one for all, or one per model [1]", readNumbers);
  verb("negate", "BASE − scale·(MODEL − BASE): what MODEL learned is forgotten")
    .option("--base <model>", "the model that MODEL was tuned from")
    .option("--model <model>", "the model whose task is forgotten", collect)
    .option("--scale <s>", "scale of the task vector [1]", readNumber);
  verb("analogy", "C + scale·(B − A): as A became B, so C")
    .option("--from <model>", "A")
    .option("--to <model>", "B")
    .option("--apply-to <model>", "C")
    .option("--scale <s>", "scale of B − A [1]", readNumber);
}
