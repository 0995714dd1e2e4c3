export { conformMethod, type MethodFixture } from "./conform-method.js";
export { type CountingEngine, countingEngine } from "./counting-engine.js";
export { Draws } from "./draws.js";
export { type Crash, contentOf, type FileOperation, Killed, killedAt, type Simulated, simulate, watchFiles } from "./failing-files.js";
export { checkGradients, deviation, type GradientCheck, isDifferentiable, runSample } from "./gradient-check.js";
export { type OpSample, opSamples } from "./op-samples.js";
