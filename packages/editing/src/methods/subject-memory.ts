/**
 * Subject memory, this project's own: edits that accumulate without meeting each other. The model stays as it is. Beside one early MLP projection
 * lies a codebook of subjects, as GRACE's (arXiv 2211.11031) is one of prompts; for each it holds what, as in ROME (arXiv 2202.05262), the layer
 * shall give more at the subject's last token:
 *   h′ = h + δ of the nearest key k where ‖x − k‖ ≤ ε‖k‖; elsewhere h, bit for bit
 * A key is the mean of what flows into the layer at the subject's last token, in the prompt and behind each prefix. All facts of a subject share one
 * δ, found by Adam from what it was, ‖δ‖ ≤ clamp·‖h‖, on
 *   mean −log p(answer) + kl·KL(before ‖ after at the subject) + keep·mean KL(before ‖ after at other questions about it) + decay·‖δ‖/‖h‖²
 * Other questions are what earlier edits and demonstrations ask of their subjects, asked of this one; those that the model answers as it does one of
 * the facts ask the same, and are left out. A fact takes the place of an earlier one of the same answer before whose answer it is asked with now.
 */
import { add, f32, makeDelta, where } from "@lfm/core";
import { z } from "zod";
import { codebookForm } from "../codebook.js";
import { codebookEditor } from "../codebook-editor.js";
import { CleanAndEdited, defineEditingMethod, type Editor } from "../editor.js";
import { type EditRequest, editBatch, essenceRow, promptRows } from "../inputs.js";
import { mlpOutSite } from "../keys.js";
import { factsToRow, questionsOf, rowToFacts } from "../subject-facts.js";
import { compileSubjectReader, meanOf } from "../subject-reader.js";
import { compileSubjectAnswers, compileSubjectSearch, type Question, type SubjectAnswers, subjectRows } from "../subject-search.js";
import { valueFields } from "../value-search.js";

// Of forty of the zoo's development people (seed 11), in all taught forms and behind other sentences, keys of block 0 lie within 0.48 of their own
// subject's, in units of its length, and those of others beyond 1.10; in block 1 it is 1.62 and 1.01: there the two are no longer apart. On 32 edits
// of them, keep 4 on 16 questions left 80 for 72 points of a subject's other relations, and 15 for 38 of what follows from a fact in one hop.
const config = z.strictObject({
  layer: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe("block beside whose MLP output the memory lies; default the one at a sixth of the depth"),
  reach: z.number().positive().default(0.75).describe("radius ε of a key, in units of its length"),
  questions: z.number().int().min(0).default(8).describe("other questions about the subject that shall be answered as before"),
  keep: z.number().min(0).default(1).describe("weight of staying the same there"),
  ...valueFields(),
});

/** Questions that are looked at for each one that stays: some ask the same as a fact. */
const LOOKED_AT = 2;

export const subjectMemory = defineEditingMethod({
  id: "subject-memory",
  summary: "Keeps for each subject what an early layer shall give more at its last token; nothing else is touched.",
  paper: {
    title: "None: a method of this project, whose codebook is that of GRACE",
    arxiv: "2211.11031",
    year: 2026,
    survey: "7.2 memory-based editing",
  },
  needs: ["weights", "grad", "activations"],
  config,
  delta: codebookForm(({ given, value, within }) => where(within, add(given, value), given)),
  prepare: ({ model, parent = null, prefixes = [], demonstrations = [] }, c, context): Editor => {
    const { engine, rng } = context;
    const site = mlpOutSite(model, c.layer ?? Math.floor(model.info.layers / 6));
    const readers = new CleanAndEdited((at) => compileSubjectReader(engine, at, { inputs: [site], outputs: [] }));
    const answers = new CleanAndEdited((at) => compileSubjectAnswers(engine, at, site));
    const searches = new CleanAndEdited((at) => compileSubjectSearch(engine, at, site, c));
    return codebookEditor({
      model,
      site,
      method: "editing/subject-memory",
      delta: (tensors) => makeDelta(subjectMemory, c, tensors, { parent }),
      open: async ({ below, which }) => {
        const reader = await readers.on(below, which);
        const answering = await answers.on(below, which);
        const search = await searches.on(below, which);
        return async (book, request, part) => {
          const rows = promptRows(request, [[], ...prefixes]);
          const key = Float32Array.from(meanOf((await reader.read(editBatch(rows))).inputs[0]!));
          const near = book.nearest(key);
          const known = near && near.distance <= book.entry(near.at).radius ? { at: near.at, ...book.entry(near.at) } : undefined;
          const earlier = known ? await notReplaced(rowToFacts(known.answer), request, known.value, answering) : [];
          const every = book.entries().flatMap((entry) => rowToFacts(entry.answer));
          const asked = rng.split(`${request.prompt} ${request.target}`).shuffle(questionsOf(every, demonstrations));
          const others = await otherQuestions(asked.slice(0, LOOKED_AT * c.questions), [request, ...earlier], answering);
          const staying = others.slice(0, c.questions);
          const batch = subjectRows(
            [...rows, ...earlier.flatMap((fact) => promptRows(fact, [[]]))],
            [
              { question: essenceRow(request), weight: c.klFactor },
              ...staying.map((question) => ({ question, weight: c.keep / staying.length })),
            ],
            model,
          );
          const from = known ? f32(known.value) : undefined;
          const { steps, lr, stopLoss } = c;
          const run = { batch, ...(from ? { from } : {}), steps, lr, stopLoss, updateLast: false, phase: "subject-memory", part };
          const { change, losses } = await search.run(run, context);
          const radius = known?.radius ?? c.reach * Math.hypot(...key);
          const place = { at: known?.at ?? book.size, fresh: !known, radius };
          return { place, key, answer: factsToRow([...earlier, request]), value: change.data as Float32Array, losses };
        };
      },
      dispose: async () => {
        await readers.dispose();
        await answers.dispose();
        await searches.dispose();
      },
    });
  },
});

/**
 * Earlier facts of the subject but for those that a new one replaces: with the same prompt, or, as far as the model tells, asking the same in other
 * words: it answers both alike as it is, and with the memory it answers the new prompt as the earlier fact wants.
 */
async function notReplaced(
  earlier: readonly EditRequest[],
  request: EditRequest,
  value: Float32Array,
  answering: SubjectAnswers,
): Promise<readonly EditRequest[]> {
  const [before, ...others] = await answering.first([request, ...earlier].map(promptOf));
  const [now] = await answering.first([promptOf(request)], value);
  const samePrompt = ({ prompt }: EditRequest): boolean => prompt.join(" ") === request.prompt.join(" ");
  return earlier.filter((fact, i) => !samePrompt(fact) && !(others[i] === before && fact.target[0] === now));
}

/** Questions asked of the request's subject, but for those that the model answers as it answers one of the facts. */
async function otherQuestions(
  asked: readonly (readonly number[])[],
  facts: readonly EditRequest[],
  answering: SubjectAnswers,
): Promise<readonly Question[]> {
  if (asked.length === 0) return [];
  const { tokens, subject } = essenceRow(facts[0]!);
  const questions = asked.map((question) => ({ tokens: [...tokens, ...question], subject }));
  const said = await answering.first([...facts.map(promptOf), ...questions]);
  const taken = new Set(said.slice(0, facts.length));
  return questions.filter((_, i) => !taken.has(said[facts.length + i]!));
}

function promptOf({ prompt, subjectEnd }: EditRequest): Question {
  return { tokens: prompt, subject: subjectEnd };
}
