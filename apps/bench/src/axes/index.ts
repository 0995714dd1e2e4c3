import { access } from "./access.js";
import type { Axis } from "./axis.js";
import { base } from "./base.js";
import { dataUsed } from "./data-used.js";
import { gain } from "./gain.js";
import { kept } from "./kept.js";
import { memory } from "./memory.js";
import { quality } from "./quality.js";
import { queries } from "./queries.js";
import { saved } from "./saved.js";
import { security } from "./security.js";
import { setup } from "./setup.js";
import { time } from "./time.js";
import { trained } from "./trained.js";

/** In the order in which their columns, findings and figures stand. */
export const axes: readonly Axis[] = [quality, base, gain, kept, trained, saved, dataUsed, queries, time, setup, memory, access, security];
