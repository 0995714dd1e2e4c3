import { LfmError } from "@lfm/core";

/**
 * Items put together into rows of at most `capacity`, by best fit, the longest first (as TRL's `pack_dataset`): each goes where it leaves least room.
 * @returns numbers of the items of each row
 * @throws {LfmError} CONFIG_INVALID for an item that no row has room for
 */
export function packByLength(lengths: readonly number[], capacity: number): number[][] {
  const rows: number[][] = [];
  /** Rows by the room that is left in them. */
  const withRoom: number[][] = Array.from({ length: capacity + 1 }, () => []);
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  for (const item of order) {
    const length = lengths[item]!;
    if (length > capacity)
      throw new LfmError("CONFIG_INVALID", `[@lfm/train] an example of ${length} tokens is packed into rows of ${capacity}`, {
        hint: `rows of ${length}, or cut the example`,
      });
    let room = length;
    while (room < capacity && withRoom[room]!.length === 0) room++;
    const found = withRoom[room]!.shift() ?? rows.push([]) - 1;
    rows[found]!.push(item);
    withRoom[room - length]!.push(found);
  }
  return rows;
}
