/** Maps values to pixels. */
export interface Scale {
  readonly kind: "linear" | "log";
  readonly domain: readonly [number, number];
  readonly range: readonly [number, number];
  (value: number): number;
  invert(pixel: number): number;
  /** Round values inside the domain, ascending. */
  ticks(count?: number): number[];
}

/** A domain of one value is widened, so that it has a middle. */
export function linearScale(domain: readonly [number, number], range: readonly [number, number]): Scale {
  let [low, high] = domain;
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const map = (v: number): number => range[0] + ((v - low) / (high - low)) * (range[1] - range[0]);
  return Object.assign(map, {
    kind: "linear" as const,
    domain: [low, high] as const,
    range,
    invert: (p: number) => low + ((p - range[0]) / (range[1] - range[0])) * (high - low),
    ticks: (count = 5) => linearTicks(low, high, count),
  });
}

/** @throws {RangeError} when the domain is not positive */
export function logScale(domain: readonly [number, number], range: readonly [number, number]): Scale {
  let [low, high] = domain;
  if (!(low > 0 && high > 0)) throw new RangeError(`a log scale has no ${low}..${high}`);
  if (low === high) [low, high] = [low / 3, high * 3];
  const inner = linearScale([Math.log10(low), Math.log10(high)], range);
  return Object.assign((v: number): number => inner(Math.log10(v)), {
    kind: "log" as const,
    domain: [low, high] as const,
    range,
    invert: (p: number) => 10 ** inner.invert(p),
    ticks: (count = 5) => logTicks(low, high, count),
  });
}

/** Widens a domain to round values; linear. */
export function niceDomain(low: number, high: number, count = 5): [number, number] {
  if (low === high) return [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const step = roundStep((high - low) / count);
  return [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
}

function linearTicks(low: number, high: number, count: number): number[] {
  const [a, b] = low < high ? [low, high] : [high, low];
  const step = roundStep((b - a) / Math.max(1, count));
  const first = Math.ceil(a / step - 1e-9);
  const last = Math.floor(b / step + 1e-9);
  const digits = Math.max(0, -Math.floor(Math.log10(step)) + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const value = (first + i) * step;
    return digits <= 15 ? Number(value.toFixed(digits)) : value;
  });
}

/** 1, 2, 5 or 10 times a power of ten, whichever is near. */
function roundStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const share = raw / power;
  return (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10) * power;
}

/** Powers of ten, thinned where there are many; 1, 2, 5 within a decade or two; linear ticks below that. */
function logTicks(low: number, high: number, count: number): number[] {
  const [a, b] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const decades = Array.from({ length: Math.max(0, b - a + 1) }, (_, i) => 10 ** (a + i));
  if (decades.length > count) return decades.filter((_, i) => i % Math.ceil(decades.length / count) === 0);
  if (decades.length >= 3) return decades;
  const fine = [1, 2, 5]
    .flatMap((m) => Array.from({ length: b - a + 3 }, (_, i) => m * 10 ** (a - 1 + i)))
    .filter((v) => v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9))
    .sort((x, y) => x - y);
  return fine.length >= 2 ? fine : linearTicks(low, high, Math.min(count, 3)).filter((v) => v > 0);
}
