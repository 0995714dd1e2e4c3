import { LfmError } from "@lfm/core";
import type { TaskProbe } from "@lfm/statistics";

/** The models of a merge with the probes of their tasks, one each. @throws {LfmError} CONFIG_INVALID */
export function probesOf(models: Readonly<Record<string, unknown>>, tasks: Readonly<Record<string, TaskProbe>>): readonly TaskProbe[] {
  return Object.keys(models).map((name) => {
    const probe = tasks[name];
    if (!probe)
      throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] no examples for "${name}": this method reads data of every model's task`, {
        hint: `there are examples of ${Object.keys(tasks).join(", ") || "nothing"}`,
      });
    return probe;
  });
}
