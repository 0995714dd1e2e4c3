import { type Command, Option } from "commander";
import { loadMethods } from "../paradigms.js";
import type { Invocation } from "../program/invocation.js";
import { collect, readCount, readFactor, readSeeds } from "./flag-values.js";
import { methodAction, withMethod } from "./method-command.js";

/** `lfm sweep METHOD --over lr=1e-4,1e-3 …`: which settings of a tuning method do best on held-out examples. */
export async function registerSweep(program: Command, invocation: Invocation): Promise<void> {
  const command = program
    .command("sweep")
    .description("find settings of a tuning method: train many, choose by held-out examples, keep the best")
    .usage("METHOD --over lr=1e-4,1e-3,1e-2 --valid dev.jsonl [options of lfm tune METHOD]");
  const [asked, about] = invocation.argv;
  if (asked !== "sweep" && !(asked === "help" && about === "sweep")) return;
  for (const method of await loadMethods.tuning()) {
    const own = command
      .command(method.id)
      .option(
        "--over <option=values>",
        "what is tried, several times: lr=1e-4,1e-3; r=4..64; lr=1e-5..1e-2:log; target-modules=q+v,q+k+v",
        collect,
      )
      .addOption(new Option("--strategy <name>", "how").choices(["grid", "random", "halving"]).default("grid"))
      .option("--trials <n>", "combinations that are drawn (random: 20)", readCount)
      .option("--metric <name>", "of the held-out examples: loss, accuracy, macroF1, exactMatch, spearman …", "loss")
      .option("--seeds <n,…>", "trains each combination with all of these; means are compared", readSeeds)
      .option("--eta <factor>", "halving: one in so many goes on, with so many times the steps", readFactor, 3);
    withMethod(own, "sweep", method).action(methodAction(own, "sweep", method, invocation, "sweep"));
  }
}
