import type { Hook, MethodContext, Model, ParamTree, Site, Tensor } from "@lfm/core";
import { batchNormHook } from "./generator-losses.js";

const hasStatistics = ({ kind, params }: Site): boolean =>
  kind === "norm" && params?.running_mean !== undefined && params.running_var !== undefined;

/** {@link batchNormHook} at every batch norm of a teacher. @param params the teacher's, traced */
export function runningStatistics(params: ParamTree, into: Tensor[]): Hook {
  return batchNormHook((site) => {
    const { running_mean: mean, running_var: variance } = site.params ?? {};
    return mean && variance ? { mean: params[mean]!, variance: params[variance]! } : undefined;
  }, into);
}

/** The weight of the distance to running statistics; of a teacher without batch norm there are none: that is said, and the weight is 0. */
export function weightOfStatistics(teacher: Model, weight: number, { log }: Pick<MethodContext, "log">): number {
  if (weight === 0 || teacher.info.sites.some(hasStatistics)) return weight;
  log(`${teacher.info.architecture} has no batch norm: nothing is known of what its layers saw, and that term of the loss is left out`);
  return 0;
}
