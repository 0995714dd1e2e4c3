import type { AnyMethod } from "@lfm/core";
import { alphaedit } from "./alphaedit.js";
import { emmet } from "./emmet.js";
import { ft } from "./ft.js";
import { ftL } from "./ft-l.js";
import { ftM } from "./ft-m.js";
import { grace } from "./grace.js";
import { ike } from "./ike.js";
import { kn } from "./kn.js";
import { lora } from "./lora.js";
import { memit } from "./memit.js";
import { mend } from "./mend.js";
import { pmet } from "./pmet.js";
import { rRome } from "./r-rome.js";
import { rome } from "./rome.js";
import { subjectMemory } from "./subject-memory.js";
import { tPatcher } from "./t-patcher.js";
import { trainMend } from "./train-mend.js";
import { wise } from "./wise.js";

/** Every editing method. A new one is a file, a test, and a line here. */
export const editingMethods: readonly AnyMethod[] = [
  ft,
  ftL,
  ftM,
  kn,
  rome,
  rRome,
  memit,
  pmet,
  emmet,
  alphaedit,
  grace,
  wise,
  subjectMemory,
  lora,
  ike,
  tPatcher,
  mend,
];

/** What trains the editors that some of them edit with. */
export const editorTrainings: readonly AnyMethod[] = [trainMend];
