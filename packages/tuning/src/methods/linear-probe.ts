/** Linear probe: the output layer learns on features that stay as they are. The other end of the scale from full fine-tuning. */
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { headTensors, replacedWithHead } from "../head.js";
import { trainingFields } from "../training-options.js";

export const linearProbe = defineTuning({
  id: "linear-probe",
  summary: "Learns the output layer alone; what it reads stays frozen.",
  paper: {
    title: "Understanding intermediate layers using linear classifier probes",
    arxiv: "1610.01644",
    year: 2016,
    survey: "3.1 weight engineering",
  },
  config: z.strictObject({ ...trainingFields(3e-2) }),
  delta: replacedWithHead,
  training: (c) => c,
  start: ({ model }) => ({ learned: headTensors(model) }),
});
