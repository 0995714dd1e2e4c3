import { f32, type HostTensor, needs, Rng, runMethod } from "@lfm/core";
import { type Episode, maml } from "@lfm/meta";
import { mlp } from "@lfm/models";
import { arrayRegression } from "@lfm/train";
import { peerEngine } from "./engine.js";
import type { Prepared } from "./serve.js";
import { uniform } from "./weights.js";

const [TASKS, SHOTS, STEPS_PER_REPETITION] = [25, 10, 10];

/** The episodes of theirs/maml.py: y = amplitude · sin(x + phase). */
function episodes(step: number): Episode[] {
  const amplitude = uniform(`amplitude ${step}`, TASKS).map((v) => v * 2.45 + 2.55);
  const phase = uniform(`phase ${step}`, TASKS).map((v) => (v + 1) * 1.5707964);
  const [support, query] = ["support", "query"].map((what) => uniform(`${what} ${step}`, TASKS * SHOTS).map((v) => v * 5)) as [
    Float32Array,
    Float32Array,
  ];
  const points = (all: Float32Array, i: number): { x: HostTensor; y: HostTensor } => {
    const x = all.slice(i * SHOTS, (i + 1) * SHOTS);
    return {
      x: f32(x, [SHOTS, 1]),
      y: f32(
        x.map((v) => amplitude[i]! * Math.sin(v + phase[i]!)),
        [SHOTS, 1],
      ),
    };
  };
  return Array.from({ length: TASKS }, (_, i) => ({ support: points(support, i), query: points(query, i) }));
}

/** Ten outer steps of the method itself a repetition; the episodes of the next ten wait until they are asked for. */
export async function prepare(): Promise<Prepared> {
  const fresh = mlp({ input_size: 1, hidden_sizes: [40, 40], output_size: 1, task: "regressor" });
  const params = Object.fromEntries(
    Object.entries(fresh.info.params).map(([name, { shape }]) => {
      const n = shape.reduce((a, b) => a * b, 1);
      return [
        name,
        shape.length < 2
          ? f32(new Float32Array(n), shape)
          : f32(
              uniform(name, n).map((v) => v * shape[1]! ** -0.5),
              shape,
            ),
      ];
    }),
  );
  let [loss, go, done] = [0, (): void => {}, (): void => {}];
  const ready = new Promise<void>((resolve) => {
    done = resolve;
  });
  const gate = async (step: number): Promise<Episode[]> => {
    if (step > 0 && step % STEPS_PER_REPETITION === 0) {
      const next = new Promise<void>((resolve) => {
        go = resolve;
      });
      done();
      await next;
    }
    return episodes(step);
  };
  const engine = await peerEngine(0);
  const context = {
    engine,
    rng: new Rng(0),
    access: needs,
    log: () => {},
    progress: ({ values }: { values?: Readonly<Record<string, number>> }) => {
      loss = values?.loss ?? loss;
    },
  };
  const running = runMethod(
    maml,
    { model: { ...fresh, params }, task: arrayRegression("sinusoid", "features", [1], 1), episodes: gate },
    { innerSteps: 5, innerLr: 0.01, metaLr: 1e-3, steps: 1_000_000_000 },
    context,
  );
  await Promise.race([running, ready]);
  return {
    engine,
    repeat: async () => {
      const finished = new Promise<void>((resolve) => {
        done = resolve;
      });
      go();
      await finished;
      return loss;
    },
  };
}
