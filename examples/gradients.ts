// The tensor core by itself: a function, its gradient and the gradient of that, compiled into one graph.
import { compile, createEngine, f32, grad, mul, sin, sum } from "@lfm/core";

const engine = await createEngine();
const f = await compile(engine, { x: { dtype: "f32", shape: [3] } }, ({ x }) => {
  const y = sum(mul(sin(x), x)); // y = Σ x·sin x
  const first = grad(y, x); //      sin x + x·cos x
  const second = grad(sum(first), x); // 2·cos x − x·sin x
  return { y, first, second };
});
const { y, first, second } = await f({ x: f32([0, 1, 2]) });
console.log({ y: y.data[0], first: first.data, second: second.data });

const expected = 2 * Math.cos(1) - Math.sin(1);
if (Math.abs((second.data[1] as number) - expected) > 1e-5) throw new Error(`expected ${expected}`);
