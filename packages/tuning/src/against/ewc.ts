/**
 * Elastic Weight Consolidation (arXiv 1612.00796, equation 3): λ/2·Σ_i F_i·(θ_i − θ*_i)², θ* the weights before, F the diagonal of the Fisher matrix
 * on examples of what the model knew. Of an adapter θ is what it makes of the weights: W + s·B·A of a LoRA.
 */
import { add, type ChangedWeight, LfmError, mul, type ParamTree, scalar, square, sub, sum, type Tensor } from "@lfm/core";

/** @param fisher f32 by the names of parameters, of their shapes. @param fresh parameters that nothing was known by: they are free */
export function ewcPenalty(changed: readonly ChangedWeight[], fisher: ParamTree, lambda: number, fresh: ReadonlySet<string>): Tensor {
  const terms = changed.flatMap(({ name, before, after }) => {
    if (fresh.has(name)) return [];
    const f = fisher[name];
    if (!f)
      throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ewc: the Fisher statistics say nothing of "${name}", which learns`, {
        hint: "take them of this model: lfm stats fisher MODEL --data base.jsonl --out fisher.safetensors",
      });
    return [sum(mul(f, square(sub(after, before))))];
  });
  return mul(
    terms.reduce((a, b) => add(a, b), scalar(0)),
    lambda / 2,
  );
}
