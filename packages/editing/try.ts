import { type Delta, type Model, type MethodContext, ortEngine, Rng, withDeltas, joinDeltas, f32, i32 } from "@lfm/core";
import { counterfacts, statement, trainedTemplates, type CounterfactRecord } from "@lfm/data";
import { createPredictor } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { tokenCorpus } from "@lfm/statistics";
import { padRows } from "@lfm/core";
import { type EditRequest, grace, lora, prepareEditor, wise } from "./src/index.js";
const engine = await ortEngine({ threads: 1 });
const zoo = await loadZoo();
const { world } = zoo;
const { bos, encode, id } = world.vocabulary;
const context: MethodContext = { engine, rng: new Rng(1), access: ["weights", "grad", "activations", "logits", "tokenizer"], log: () => {}, progress: () => {} };
const rng = new Rng(5);
const corpus = tokenCorpus("true", padRows(rng.sample(world.facts, 512).map((f) => [bos, ...encode(statement(world, f, rng.pick(trainedTemplates(world, f.subject, f.relation))))])), 512);
const records = counterfacts(world, { seed: 11, count: 100, accept: (f) => world.entities.indexOf(f.subject) < 128 });
const requestOf = ({ requested_rewrite: r }: CounterfactRecord): EditRequest => {
  const prompt = [bos, ...encode(r.prompt.replace("{}", () => r.subject))];
  return { prompt, subjectEnd: prompt.lastIndexOf(id(r.subject)), target: [id(r.target_new.str)], start: 1, essence: [bos, id(r.subject)] };
};
const predictor = await createPredictor(engine, zoo.lm, "next", { batchSize: 64 });
async function scores(model: Model, n = records.length): Promise<string> {
  await predictor.swap(model);
  const of = async (pick: (r: CounterfactRecord) => readonly string[], want: "new" | "true") => {
    const rows: number[][] = []; const at: CounterfactRecord[] = [];
    for (const r of records.slice(0, n)) for (const p of pick(r)) { rows.push([bos, ...encode(p)]); at.push(r); }
    const out = await predictor.predict(rows);
    let ok = 0, exact = 0;
    for (const [i, t] of out.entries()) {
      const d = t.data as Float32Array; const { target_new: a, target_true: b } = at[i]!.requested_rewrite;
      const [w, l] = want === "new" ? [a, b] : [b, a];
      ok += d[id(w.str)]! > d[id(l.str)]! ? 1 : 0;
      exact += d.every((v) => v <= d[id(w.str)]!) ? 1 : 0;
    }
    return `${((100 * ok) / rows.length).toFixed(1)}/${((100 * exact) / rows.length).toFixed(1)}`;
  };
  return `ES ${await of((r) => [r.requested_rewrite.prompt.replace("{}", () => r.requested_rewrite.subject)], "new")} PS ${await of((r) => r.paraphrase_prompts, "new")} NS ${await of((r) => r.neighborhood_prompts, "true")}`;
}
console.log("base", await scores(zoo.lm));
const which = process.argv[2]!;
const sets = JSON.parse(process.argv[3]!) as object[];
const N = Number(process.argv[4] ?? 100);
const method = { grace, wise, lora }[which]!;
for (const set of sets) {
  const editor = await prepareEditor(method, { model: zoo.lm, corpus }, set, context);
  const t = performance.now();
  let previous: Delta[] = []; let last: Model = zoo.lm; const steps: number[] = []; const finals: number[] = [];
  for (const r of records.slice(0, N)) {
    const out = await editor.edit([requestOf(r)], previous);
    previous = which === "grace" ? [...previous, out.delta] : [...joinDeltas([...previous, out.delta])];
    last = out.model; steps.push(out.curves.loss!.length); finals.push(out.curves.loss!.at(-1)![1]);
  }
  const ms = (performance.now() - t) / N;
  const mean = (a: number[]) => a.reduce((x, y) => x + y, 0) / a.length;
  const info = which === "wise" ? Object.entries(previous[0]!.tensors).filter(([k]) => /thresholds|states/.test(k)).map(([, v]) => [...v.data].join()) : joinDeltas(previous)[0] ? Object.values(joinDeltas(previous)[0]!.tensors)[0]!.shape : "";
  console.log(which, JSON.stringify(set), await scores(last, N), `steps ${mean(steps).toFixed(1)} loss ${mean(finals).toFixed(3)} ${ms.toFixed(0)} ms/edit`, info);
  await editor.dispose();
}
