/** What one turn of a data-free method asks a black box. */
export interface Turn {
  /** Examples that the inventor asks about to find its way; 0: it does not move in this turn. */
  readonly exploring: number;
  /** Examples that the student learns. */
  readonly learning: number;
}

/**
 * Turns that spend a budget to the last query: full ones while they last, then what is left for the student alone.
 * @param exploring queries that the inventor needs for a step, learning — those of a batch of the student
 */
export function planQueries(budget: number, exploring: number, learning: number): readonly Turn[] {
  const turns: Turn[] = [];
  let left = budget;
  while (left > 0) {
    const explores = left >= exploring + learning ? exploring : 0;
    const learns = Math.min(learning, left - explores);
    turns.push({ exploring: explores, learning: learns });
    left -= explores + learns;
  }
  return turns;
}
