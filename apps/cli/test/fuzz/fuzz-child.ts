// Reads changed files one after the other and tells of each before and after, so that its parent sees in which one it hangs or dies.
import { tryFile } from "./readers.js";

const [from, to, fixtures, work] = process.argv.slice(2) as [string, string, string, string];
for (let i = Number(from); i < Number(to); i++) {
  const outcome = await tryFile(i, fixtures, work, (what) => process.send!({ i, what }));
  process.send!({ i, ...outcome, rss: process.memoryUsage.rss() });
}
process.disconnect();
