import { type MethodContext, throwIfAborted } from "@lfm/core";
import type { Hit, Query, Run } from "@lfm/data";
import { checkQueries } from "../inputs.js";

/** The hits of every query, one after the other. @throws {LfmError} CONFIG_INVALID for queries that share an id; ABORTED between two */
export function searchAll(
  method: string,
  queries: readonly Query[],
  context: Pick<MethodContext, "signal" | "progress">,
  search: (text: string) => Hit[],
): Run {
  checkQueries(method, queries);
  const run = new Map<string, Hit[]>();
  for (const [i, query] of queries.entries()) {
    throwIfAborted(context.signal, `[@lfm/retrieval] ${method}`);
    run.set(query.id, search(query.text));
    context.progress({ phase: "search", done: i + 1, total: queries.length, unit: "queries" });
  }
  return run;
}
