/** Learning rate of a step as a factor of the peak. step counts from 0. */
export type Schedule = (step: number, total: number) => number;

export const constantSchedule = (): Schedule => () => 1;

/** Linear warm-up over `warmup` steps, then linear to zero at `total` (transformers' get_linear_schedule_with_warmup). */
export function linearSchedule(warmup = 0): Schedule {
  return (step, total) => (step < warmup ? step / Math.max(1, warmup) : Math.max(0, (total - step) / Math.max(1, total - warmup)));
}

/** Linear warm-up, then half a cosine down to `floor`. */
export function cosineSchedule(warmup = 0, floor = 0): Schedule {
  return (step, total) => {
    if (step < warmup) return step / Math.max(1, warmup);
    const t = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
    return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * t));
  };
}
