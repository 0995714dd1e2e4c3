import {
  type Checkpoint,
  type CheckpointState,
  type Delta,
  type Engine,
  f32,
  isLfmError,
  joinDeltas,
  type MethodContext,
  ortEngine,
  runMethod,
} from "@lfm/core";
import { beforeAll, describe, expect, it } from "vitest";
import { defineEditingMethod, type EditingOutput, type EditRequest, ftL } from "../src/index.js";
import { editingContext, smallLlama } from "./small-llama.js";

const model = smallLlama;
const requests: readonly EditRequest[] = Array.from({ length: 5 }, (_, i) => ({
  prompt: [1, 5 + i, 6, 7],
  subjectEnd: 1,
  target: [9 + i],
  start: 1,
}));
const options = { steps: 3, lr: 0.05, epsilon: 10 };

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = editingContext(engine);
});

/** A place in memory, as files would be: what is saved is copied. */
function memory(): { readonly at: (phase: string) => Checkpoint; state?: CheckpointState; saves: number } {
  const place: { at: (phase: string) => Checkpoint; state?: CheckpointState; saves: number } = {
    at: () => ({
      load: async () => place.state,
      save: async (state) => {
        place.saves++;
        place.state = structuredClone(state);
      },
    }),
    saves: 0,
  };
  return place;
}

const run = (over: object = {}, on: Partial<MethodContext> = {}): Promise<EditingOutput> =>
  runMethod(ftL, { model, requests, batch: 1, ...over }, options, { ...context, ...on });

describe("facts in turn", () => {
  it("are each written into the model with those before, and come out as one delta", async () => {
    const told: string[] = [];
    const { delta, curves } = await run({}, { progress: (p) => void told.push(`${p.phase} ${p.done}/${p.total} ${p.unit}`) });
    const previous: Delta[] = [];
    for (const request of requests) previous.push((await run({ requests: [request], previous })).delta);
    expect(delta.tensors).toEqual(joinDeltas(previous)[0]!.tensors);
    expect(told).toEqual([1, 2, 3, 4, 5].map((n) => `editing/ft-l ${n}/5 fact`));
    expect(Object.keys(curves)).toEqual([1, 2, 3, 4, 5].map((n) => `loss.${n}`));
  });

  it("go several at a time, the last ones fewer; all at once is the method's own batch", async () => {
    const { delta } = await run({ batch: 2 });
    const previous: Delta[] = [];
    for (const from of [0, 2, 4]) previous.push((await run({ requests: requests.slice(from, from + 2), batch: 2, previous })).delta);
    expect(delta.tensors).toEqual(joinDeltas(previous)[0]!.tensors);
    expect((await run({ batch: 5 })).delta.tensors).toEqual((await run({ batch: undefined })).delta.tensors);
  });

  it("go on where they were stopped, at any fact, to the same delta", async () => {
    const whole = await run();
    for (const stopAt of [1, 3, 4]) {
      const [place, stop] = [memory(), new AbortController()];
      const progress: MethodContext["progress"] = ({ done }) => {
        if (done === stopAt) stop.abort();
      };
      const stopped = await run({}, { checkpoint: place.at, signal: stop.signal, progress }).catch((e: unknown) => e);
      expect(isLfmError(stopped, "ABORTED")).toBe(true);
      expect(place.state!.step).toBe(stopAt);
      const begun: number[] = [];
      const again = await run({}, { checkpoint: place.at, progress: (p) => void begun.push(p.done) });
      expect(begun[0]).toBe(stopAt + 1);
      expect(again.delta.tensors).toEqual(whole.delta.tensors);
      expect(again.curves).toEqual(whole.curves);
    }
  });

  it("are saved on the way: a process that is killed loses little", async () => {
    const place = memory();
    await run({}, { checkpoint: place.at });
    // Saving in memory takes no time: after every fact but the last.
    expect([place.saves, place.state!.step]).toEqual([4, 4]);
  });

  it("say which fact is wrong, and keep nothing that is not finite", async () => {
    const broken = requests.with(3, { ...requests[3]!, target: [] });
    const refused = await run({ requests: broken }).catch((e: unknown) => e);
    expect(isLfmError(refused, "CONFIG_INVALID") && refused.message).toContain("(fact 4 of 5)");
    const place = memory();
    const wild = defineEditingMethod({
      ...ftL,
      prepare: (inputs, c, on) => {
        const editor = ftL.prepare(inputs, c, on);
        return {
          ...editor,
          edit: async (given, previous = []) => {
            const made = await editor.edit(given, previous);
            if (previous.length < 1) return made;
            const tensors = Object.fromEntries(
              Object.entries(made.delta.tensors).map(([name, t]) => [name, f32(new Float32Array(t.data.length).fill(Number.NaN), t.shape)]),
            );
            return { ...made, delta: { ...made.delta, tensors } };
          },
        };
      },
    });
    const lost = await runMethod(wild, { model, requests, batch: 1 }, options, { ...context, checkpoint: place.at }).catch(
      (e: unknown) => e,
    );
    expect(isLfmError(lost, "NUMERIC_DIVERGED") && lost.message).toContain("is not finite (fact 2 of 5)");
    expect(place.state!.step).toBe(1);
  });

  it("are refused of a method whose deltas do not become one, and in batches of nothing", async () => {
    const { join: _none, ...form } = ftL.delta!;
    const stiff = defineEditingMethod({ ...ftL, delta: form });
    const refused = await runMethod(stiff, { model, requests, batch: 1 }, options, context).catch((e: unknown) => e);
    expect(isLfmError(refused, "CAPABILITY_MISSING")).toBe(true);
    expect(isLfmError(await run({ batch: 0 }).catch((e: unknown) => e), "CONFIG_INVALID")).toBe(true);
    // How often it saves itself is a matter of time; when it is stopped, it always does.
    const [fewer, stop] = [memory(), new AbortController()];
    const progress: MethodContext["progress"] = ({ unit, done }) => {
      if (unit === "fact" && done === 3) stop.abort();
    };
    await run({}, { checkpoint: fewer.at, signal: stop.signal, progress }).catch(() => undefined);
    expect(fewer.state!.step).toBe(3);
    expect(
      isLfmError(await run({ requests: requests.slice(0, 2) }, { checkpoint: fewer.at }).catch((e: unknown) => e), "CONFIG_INVALID"),
    ).toBe(true);
  });

  it("of a method that knows no batches go one by one from the first on", async () => {
    const one = defineEditingMethod({ ...ftL, single: true });
    const given = { model, requests };
    expect((await runMethod(one, given, options, context)).delta.tensors).toEqual((await run()).delta.tensors);
  });
});
