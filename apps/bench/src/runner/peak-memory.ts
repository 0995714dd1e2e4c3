/** How often the size of the process is looked at. */
const EVERY_MS = 50;

/**
 * Watches the resident size of the whole process, from the main thread.
 * It contains what earlier cells left behind: a ceiling for what the cell needs, not its own share.
 */
export function watchPeakMemory(): { stop(): number } {
  let peak = process.memoryUsage.rss();
  const look = (): void => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  const timer = setInterval(look, EVERY_MS);
  timer.unref();
  return {
    stop: () => {
      clearInterval(timer);
      look();
      return peak;
    },
  };
}
