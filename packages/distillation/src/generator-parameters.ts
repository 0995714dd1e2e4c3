/** Where the generator's parameters stand in a training. */
export const GENERATOR = "generator/";

/** The generator's parameters stand beside those of the two models. */
export function inGenerator<T>(params: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(params).map(([name, t]) => [`${GENERATOR}${name}`, t]));
}

/** A generator's own parameters. */
export function ofGenerator<T>(params: Readonly<Record<string, T>>): Record<string, T> {
  const own = Object.entries(params).flatMap(([name, t]) =>
    name.startsWith(GENERATOR) ? [[name.slice(GENERATOR.length), t] as const] : [],
  );
  return Object.fromEntries(own);
}
