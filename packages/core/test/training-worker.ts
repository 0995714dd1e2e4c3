// A worker for worker-task.test.ts: trains for as long as it may, or fails as it is told.
import { adamw, compileStep, f32, grad, LfmError, meanSquaredError, ortEngine, serveTask, throwIfAborted } from "@lfm/core";

serveTask(async ({ steps, fail }: { steps: number; fail?: boolean }, context) => {
  if (fail) throw new LfmError("SHAPE_MISMATCH", "the fixture fails", { hint: "as it was told", details: { step: 3 } });
  const optimizer = adamw();
  const params = { w: f32([0, 0], [2]) };
  const scalar = { dtype: "f32", shape: [] } as const;
  const step = await compileStep(await ortEngine({ threads: 1 }), {
    state: { params, optimizer: optimizer.init(params) },
    inputs: { y: { dtype: "f32", shape: [2] }, lr: scalar, step: scalar },
    step: (state, inputs) => {
      const loss = meanSquaredError(state.params.w, inputs.y);
      const next = optimizer.update(state.params, grad(loss, state.params), state.optimizer, inputs);
      return { state: { params: next.params, optimizer: next.state }, outputs: { loss } };
    },
  });
  let loss = 0;
  for (let i = 0; i < steps; i++) {
    throwIfAborted(context.signal, `[fixture] step ${i}`);
    // No turn of the event loop in between: the worst case for a stop by message.
    const out = await step.run({ y: f32([1, -2]), lr: f32([0.05], []), step: f32([i + 1], []) });
    loss = Number(out.loss.data[0]);
    context.progress({ phase: "fixture", done: i + 1, total: steps, unit: "step", values: { loss } });
  }
  context.log("done");
  return { loss };
});
