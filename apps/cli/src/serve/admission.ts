import type { BatchGenerator } from "@lfm/models";
import { invalid, tooMany } from "./api-error.js";

/** How much may be asked at once. */
export interface Capacity {
  /** Sequences that are decoded together. */
  readonly slots: number;
  /** Sequences that may wait for one of them; texts that may wait to be embedded. */
  readonly queue: number;
}

/**
 * Lets so many answers in, or says that there is no room.
 * @throws {ApiError} 429 while others take the room, 400 for more than there ever is
 */
export function admit(generator: BatchGenerator, answers: number, { slots, queue }: Capacity): void {
  const most = slots + queue;
  if (answers > most) throw invalid(`${answers} answers are asked for at once; this server takes ${most}`, "n");
  const { running, waiting } = generator.load;
  if (running + waiting + answers > most) throw tooMany(`all ${slots} slots are taken and ${waiting} answers wait; come again`);
}
