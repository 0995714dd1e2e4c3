/** How two vectors are compared; a score is higher where they are nearer, so distances are negative. */
export const metrics = ["cosine", "inner-product", "l2"] as const;
/** "cosine" scales vectors to length 1 when they come in; "inner-product" takes them as they are; "l2" scores by minus the squared distance. */
export type Metric = (typeof metrics)[number];

/** Rows scaled to length 1, in place; a zero vector stays zero. */
export function toUnitLength(rows: Float32Array, d: number): void {
  for (let at = 0; at < rows.length; at += d) {
    let sum = 0;
    for (let i = at; i < at + d; i++) sum += rows[i]! * rows[i]!;
    const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let i = at; i < at + d; i++) rows[i]! *= scale;
  }
}
