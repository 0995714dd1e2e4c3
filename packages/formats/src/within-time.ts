import vm from "node:vm";

/** Runs code at most so long in this thread. */
export interface TimeLimit {
  /**
   * What the work gives. Node ends it wherever it is when its time is over, in a regular expression too.
   * @param late the error of work that is not done in time
   */
  run<T>(ms: number, work: () => T, late: () => Error): T;
}

/**
 * For code that is steered by somebody's files: templates, regular expressions. It costs a tenth of a millisecond, and what the work changes must be
 * whole wherever it ends: let it only compute.
 */
export function timeLimit(): TimeLimit {
  const script = new vm.Script("work()");
  const context = vm.createContext({ work: undefined });
  return {
    run: <T>(ms: number, work: () => T, late: () => Error): T => {
      let made: { readonly value: T } | undefined;
      context.work = () => {
        made = { value: work() };
      };
      try {
        script.runInContext(context, { timeout: Math.ceil(ms) });
      } catch (error) {
        // It may be an error of the script's own realm.
        if (typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT") throw late();
        throw error;
      } finally {
        context.work = undefined;
      }
      // The script ended by itself: the work was done.
      return made!.value;
    },
  };
}
