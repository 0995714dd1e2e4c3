import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventFile } from "@lfm/formats";
import type { Found } from "./found.js";

/** Writes learning curves into a folder as one event file: `tensorboard --logdir lfm-out` finds it, the run named by its folder. */
export function writeEvents(folder: string, curves: NonNullable<Found["curves"]>): void {
  const now = Date.now() / 1000;
  const events = Object.entries(curves).flatMap(([tag, points]) => points.map(([step, value]) => ({ tag, step, value })));
  writeFileSync(join(folder, `events.out.tfevents.${Math.floor(now)}.lfm`), eventFile(events, now));
}
