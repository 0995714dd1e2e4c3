/** A record for names out of a file: none of them means anything to it, `__proto__` and `constructor` neither. */
export function namedRecord<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>;
}
