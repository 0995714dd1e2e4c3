import type { TextTask } from "@lfm/data";

/** The tasks whose specialists are merged. */
export const MERGED_TASKS: readonly TextTask["id"][] = ["mood", "negation", "topic", "order"];
