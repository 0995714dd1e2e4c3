export * from "./autodiff.js";
export * from "./block-weights.js";
export * from "./compile.js";
export * from "./compile-model.js";
export * from "./delta.js";
export * from "./dims.js";
export * from "./dtype.js";
export { type CreateEngineOptions, createEngine, type EngineName, type EngineStatus, listEngines } from "./engines/catalog.js";
export * from "./engines/engine.js";
export * from "./engines/executable.js";
export { Executables } from "./engines/executables.js";
export { type OrtOptions, ortEngine } from "./engines/ort.js";
export { loadWeight, referenceEngine } from "./engines/reference.js";
export { type TfjsOptions, tfjsEngine } from "./engines/tfjs.js";
export { checkThreads, mostThreads } from "./engines/thread-count.js";
export * from "./errors.js";
export * from "./finite.js";
export { bindSymbols, buildGraph, type Graph } from "./graph.js";
export * from "./hooks.js";
export { type Liveness, liveness } from "./liveness.js";
export { makeFolder } from "./make-folder.js";
export * from "./method.js";
export * from "./method-inputs.js";
export * from "./model.js";
export { exportOnnx, type OnnxExport, type OnnxExportOptions } from "./onnx/export.js";
export * from "./ops/index.js";
export * from "./optim/index.js";
export * from "./plain-error.js";
export * from "./plain-weights.js";
export { checkProvided, type Provider, provideInputs, provider } from "./provide-inputs.js";
export * from "./quantize.js";
export * from "./quantized-base.js";
export * from "./results.js";
export * from "./rng.js";
export * from "./rows.js";
export * from "./site.js";
export * from "./small-floats.js";
export { constant, type Operand, placeholder, scalar, Tensor, type TensorType } from "./tensor.js";
export { isHostTensor, type Spec, trace } from "./trace.js";
export * from "./trainable-params.js";
export * from "./tree.js";
export {
  type OpenedTasks,
  openTasks,
  runTask,
  serveTask,
  serveTasks,
  type TaskContext,
  type TaskOptions,
  type TaskThread,
} from "./worker-task.js";
