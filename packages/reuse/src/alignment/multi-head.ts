import { concat, type HostTensor, LfmError, type Model, type Outputs, type ParamTree, type Tensor } from "@lfm/core";

/** Name of a parameter that one head has of its own. */
export const headKey = (head: string, param: string): string => `heads.${head}.${param}`;

/**
 * Models that share the parameters of their first layers, as one model: the trunk runs once (equal parts of a graph are one), logits stand
 * side by side, f32[..., Σ classes], in the order of the heads.
 * @param shared by the models' own names
 * @param own of each head, by the models' own names
 */
export function multiHead(
  heads: Readonly<Record<string, Model>>,
  shared: Readonly<Record<string, HostTensor>>,
  own: Readonly<Record<string, Readonly<Record<string, HostTensor>>>>,
): Model {
  const entries = Object.entries(heads);
  const first = entries[0]![1];
  const params: Record<string, HostTensor> = { ...shared };
  const infos = Object.fromEntries(Object.keys(shared).map((name) => [name, first.info.params[name]!]));
  for (const [head, model] of entries) {
    for (const [name, tensor] of Object.entries(own[head]!)) {
      params[headKey(head, name)] = tensor;
      infos[headKey(head, name)] = model.info.params[name]!;
    }
  }
  const keyOf = (head: string, name: string): string => (name in shared ? name : headKey(head, name));
  return {
    info: {
      ...first.info,
      architecture: `multi-head(${entries.map(([, m]) => m.info.architecture).join("+")})`,
      classes: entries.reduce((sum, [, m]) => sum + (m.info.classes ?? 0), 0),
      params: infos,
    },
    params,
    forward: (tree, input, context): Outputs => {
      const buffers: Record<string, Tensor> = {};
      const logits = entries.map(([head, model]) => {
        const mine: ParamTree = Object.fromEntries(Object.keys(model.info.params).map((name) => [name, tree[keyOf(head, name)]!]));
        const out = model.forward(mine, input, context);
        if (!out.logits) throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] the head "${head}" gives no logits`);
        for (const [name, value] of Object.entries(out.buffers ?? {})) buffers[keyOf(head, name)] ??= value;
        return out.logits;
      });
      return { logits: logits.length === 1 ? logits[0]! : concat(logits, logits[0]!.rank - 1), buffers };
    },
  };
}
