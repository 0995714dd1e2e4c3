import type { Axis } from "./axis.js";

/** A slot of results that nothing fills yet: every row reads "not run". */
export const security: Axis = {
  id: "security",
  read: (cell) => cell.security,
  page: { title: "Security", hint: "what attacks on the model reach", kind: "text" },
};
