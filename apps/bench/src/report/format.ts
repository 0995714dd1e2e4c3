import type { MetricStat, Stat } from "../aggregate.js";

export const notRun = "not run";

/** Three significant digits at most, no exponent for everyday sizes. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(1).replace("e+", "e");
  if (Number.isInteger(value)) return String(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
}

/** 1 234 → "1.2 k". */
export function formatCount(value: number | null): string {
  if (value === null) return notRun;
  return withPrefix(value, 1000, ["", " k", " M", " G", " T"]);
}

export function formatBytes(value: number | null): string {
  if (value === null) return notRun;
  return withPrefix(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
}

function withPrefix(value: number, base: number, units: readonly string[]): string {
  let v = value;
  let i = 0;
  while (Math.abs(v) >= base * 0.9995 && i < units.length - 1) {
    v /= base;
    i++;
  }
  return `${i === 0 ? Math.round(v) : Math.abs(v) >= 100 ? v.toFixed(0) : v.toFixed(1).replace(/\.0$/, "")}${units[i]}`;
}

export function formatMs(value: number | null): string {
  if (value === null) return notRun;
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 1000) return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
  if (value < 120_000) return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(value / 1000);
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A value with its unit: fractions as percent. */
export function formatValue(value: number | null, unit: string): string {
  if (value === null) return notRun;
  if (unit === "fraction") return `${(100 * value).toFixed(1)} %`;
  if (unit === "points") return value.toFixed(1);
  if (unit === "bytes") return formatBytes(value);
  if (unit === "ms") return formatMs(value);
  if (unit === "count") return Number.isInteger(value) ? formatCount(value) : formatNumber(value);
  return unit === "ratio" || unit === "mse" || unit === "" ? formatNumber(value) : `${formatNumber(value)} ${unit}`;
}

/** "91.2 % ± 0.4". */
export function formatStat(stat: Stat | undefined, unit: string): string {
  if (!stat || stat.mean === null) return notRun;
  const mean = formatValue(stat.mean, unit);
  // Bytes that are counted do not vary.
  if (stat.sd === null || (unit === "bytes" && stat.sd === 0)) return mean;
  return `${mean} ± ${unit === "fraction" ? (100 * stat.sd).toFixed(1) : ["ms", "bytes"].includes(unit) ? formatValue(stat.sd, unit) : formatNumber(stat.sd)}`;
}

/** A difference of two values of a metric, with its sign: "+44.5 points ± 1.2" where they are shares. */
export function formatGain(stat: Stat, unit: string): string {
  if (stat.mean === null) return notRun;
  const shares = unit === "fraction" || unit === "points";
  const text = (value: number): string => (shares ? axisValue(value, unit).toFixed(1) : formatNumber(value));
  const name = shares ? " points" : unit === "ratio" || unit === "mse" || unit === "" ? "" : ` ${unit}`;
  return `${stat.mean < 0 ? "−" : "+"}${text(Math.abs(stat.mean))}${name}${stat.sd === null ? "" : ` ± ${text(stat.sd)}`}`;
}

/** Percent where the metric is a share, the plain number otherwise: what axes show. */
export function axisValue(value: number, unit: string): number {
  return unit === "fraction" ? 100 * value : value;
}

export function axisUnit(unit: string): string {
  return unit === "fraction" ? "%" : unit === "ratio" || unit === "mse" ? "" : unit;
}

/** "answerAccuracy" → "answer accuracy", "accuracy5Shot" → "accuracy 5 shot"; ids with dashes likewise; "nDCG@10" stays as it is. */
export function spell(name: string): string {
  return name
    .replace(/([a-z])(\d+)(?=[A-Z])/g, "$1 $2")
    .replace(/([a-z0-9])([A-Z])(?=[a-z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`)
    .replace(/[-_]/g, " ");
}

/** "higher is better" or the other way round. */
export function direction(metric: Pick<MetricStat, "higherIsBetter">): string {
  return metric.higherIsBetter ? "higher is better" : "lower is better";
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** A share in words: "98 %", "2.0 %". */
export function formatPart(value: number): string {
  return `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
}
