import type { Progress } from "@lfm/core";

/** Where progress is drawn: a terminal line that rewrites itself, or one plain line per tenth where there is no terminal. */
export interface ProgressStream {
  readonly isTTY: boolean;
  readonly columns: number;
  write(text: string): void;
}

interface Phase {
  readonly startedAt: number;
  readonly startedWith: number;
  lastDone: number;
  lastDrawn: number;
  lastTenth: number;
}

/** Draws progress with rate and time left. Time is injected so that tests need no clock. */
export class ProgressLine {
  private readonly stream: ProgressStream;
  private readonly now: () => number;
  private readonly phases = new Map<string, Phase>();
  private drawn = false;

  constructor(stream: ProgressStream, now: () => number = () => performance.now()) {
    this.stream = stream;
    this.now = now;
  }

  update(p: Progress): void {
    const now = this.now();
    let phase = this.phases.get(p.phase);
    // The same phase may come again, for another cell: its clock starts anew.
    if (!phase || p.done <= phase.lastDone) {
      phase = { startedAt: now, startedWith: p.done, lastDone: p.done, lastDrawn: Number.NEGATIVE_INFINITY, lastTenth: -1 };
      this.phases.set(p.phase, phase);
    }
    phase.lastDone = p.done;
    const finished = p.done >= p.total;
    if (this.stream.isTTY) {
      if (!finished && now - phase.lastDrawn < 100) return;
      phase.lastDrawn = now;
      this.stream.write(`\r\u001b[2K${formatProgress(p, this.rate(phase, p, now), this.stream.columns)}`);
      this.drawn = true;
      if (finished) this.clear();
      return;
    }
    const tenth = Math.floor((10 * p.done) / Math.max(1, p.total));
    if (tenth === phase.lastTenth) return;
    phase.lastTenth = tenth;
    this.stream.write(`${formatProgress(p, this.rate(phase, p, now), 200)}\n`);
  }

  /** Removes the line, so that results stand alone. */
  clear(): void {
    if (this.drawn) this.stream.write("\r\u001b[2K");
    this.drawn = false;
  }

  private rate(phase: Phase, p: Progress, now: number): number {
    const seconds = (now - phase.startedAt) / 1000;
    return seconds > 0 ? (p.done - phase.startedWith) / seconds : 0;
  }
}

/** `tuning/lora ███████░░░ 70/100 step  12.3/s  2 s left  loss 0.31`, cut to the width of the terminal. */
export function formatProgress(p: Progress, perSecond: number, columns: number): string {
  const share = p.total > 0 ? Math.min(1, p.done / p.total) : 0;
  const bar = "█".repeat(Math.round(share * 20)).padEnd(20, "░");
  const left = perSecond > 0 ? `  ${formatSeconds((p.total - p.done) / perSecond)} left` : "";
  const rate = perSecond > 0 ? `  ${formatRate(perSecond)}` : "";
  const values = Object.entries(p.values ?? {}).map(([k, v]) => `  ${k} ${formatValue(v)}`);
  return `${p.phase} ${bar} ${p.done}/${p.total} ${p.unit}${rate}${left}${values.join("")}`.slice(0, Math.max(20, columns - 1));
}

function formatRate(perSecond: number): string {
  return perSecond >= 1 ? `${perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toFixed(1)}/s` : `${(1 / perSecond).toFixed(1)} s each`;
}

/** 0.4 → "0.4 s", 75 → "1 min 15 s", 7300 → "2 h 1 min". */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

function formatValue(v: number): string {
  return v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? v.toExponential(2) : String(Number(v.toPrecision(4)));
}
