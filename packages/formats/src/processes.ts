import { readFileSync } from "node:fs";

/** True while a process of this machine runs. One that has ended and waits for its parent to notice does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM";
  }
  return statusOf(pid)?.state !== "Z";
}

/** When a process began, in ticks since the machine did; undefined where the system does not say. Tells it from a later one of the same number. */
export function beganAt(pid: number): string | undefined {
  return statusOf(pid)?.began;
}

function statusOf(pid: number): { readonly state: string; readonly began: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // proc(5): the second field is a name in brackets, which may hold anything; state is the third field, the beginning the 22nd.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, began] = [fields[0], fields[19]];
  return state === undefined || began === undefined ? undefined : { state, began };
}
