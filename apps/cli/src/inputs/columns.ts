import type { ColumnRole, Columns } from "@lfm/data";
import { InvalidArgumentError } from "commander";

const roles: Readonly<Record<ColumnRole, true>> = {
  text: true,
  text2: true,
  label: true,
  prompt: true,
  input: true,
  completion: true,
  messages: true,
  chosen: true,
  rejected: true,
  margin: true,
};

/** What `--columns` means, for help. */
export const columnsHelp = "which columns hold what, e.g. text=review,label=stars; numbers from 1 for a file without a header line";

/** `text=review,label=stars`: the column of each role. */
export function readColumns(text: string): Columns {
  const pairs = text.split(",").map((part) => {
    const [role, ...name] = part.split("=");
    const [what, column] = [role!.trim(), name.join("=").trim()];
    if (!Object.hasOwn(roles, what) || column === "")
      throw new InvalidArgumentError(`It must be like text=review,label=stars, with ${Object.keys(roles).join(", ")} on the left.`);
    return [what, column] as const;
  });
  return Object.fromEntries(pairs);
}
