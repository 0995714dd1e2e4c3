import {
  add,
  dimEqual,
  div,
  expandDims,
  type Hook,
  linear,
  type Model,
  matmul,
  maximum,
  mean,
  mul,
  type ParamTree,
  relu,
  reshape,
  type Site,
  slice,
  squeeze,
  sum,
  type Tensor,
} from "@lfm/core";

/** Linear layers inside the MLP of each block: they take the mixture that the MLP's router asks for. */
export function mlpLinears(model: Model): ReadonlyMap<Site, readonly Site[]> {
  const { sites } = model.info;
  return new Map(
    sites
      .filter((s) => s.kind === "mlp" && s.layer !== undefined)
      .map((mlp) => [mlp, sites.filter((s) => s.weight && s.layer === mlp.layer && ["gate", "in", "out"].includes(s.role ?? ""))] as const)
      .filter(([, linears]) => linears.length > 0),
  );
}

export const expertsName = (parameter: string): string => `${parameter}.task_vectors`;
export const isExperts = (tensor: string): boolean => tensor.endsWith(".task_vectors");
export const routerName = (path: string, layer: number, part: "weight" | "bias"): string => `${path}.router.${layer}.${part}`;

export interface MixOptions {
  /** Layers of a router: 0 (coefficients, no input), 1 or 2. */
  readonly routerLayers: number;
  /** One mixture for each sequence, from the mean over its tokens, or one for each token. */
  readonly routing: "sequence" | "token";
}

/**
 * What weight-ensembling MLPs put into the forward pass: W + Σᵢ wᵢτᵢ in every linear layer of an MLP, w = router(what flows into the MLP).
 * @param tensors task vectors f32[models, …shape of the parameter] and routers, by {@link expertsName}, {@link routerName}
 */
export function mixingHooks(tensors: ParamTree, options: MixOptions): readonly Hook[] {
  // Set while one forward pass is traced: the mask of the sequence, and what the router of each block's MLP asks for.
  let mask: Tensor | undefined;
  const mixtures = new Map<number, Tensor>();
  return [
    {
      matches: (site) => site.kind === "embedding",
      sequence: (sequence) => {
        mask = sequence.mask;
        return sequence;
      },
    },
    {
      matches: (site) => site.kind === "mlp" && routerName(site.path, 0, "bias") in tensors,
      input: (x, site) => {
        mixtures.set(site.layer!, mixtureOf(x, site.path, tensors, options, mask));
        return x;
      },
    },
    {
      matches: (site) => site.weight !== undefined && expertsName(site.weight.name) in tensors,
      output: (y, x, site) => add(y, mixedChange(x, site, mixtures.get(site.layer!)!, tensors)),
    },
  ];
}

/** f32[1 | batch, models] or f32[batch, seq, models]. x — f32[batch, seq, hidden] */
function mixtureOf(x: Tensor, path: string, tensors: ParamTree, { routerLayers, routing }: MixOptions, mask: Tensor | undefined): Tensor {
  const part = (layer: number, kind: "weight" | "bias"): Tensor => tensors[routerName(path, layer, kind)]!;
  if (routerLayers === 0) return expandDims(part(0, "bias"), 0);
  let h = x;
  for (let i = 0; i < routerLayers; i++) {
    h = linear(h, part(i, "weight"), part(i, "bias"));
    if (i < routerLayers - 1) h = relu(h);
  }
  if (routing === "token") return h;
  if (!mask || !dimEqual(mask.dim(1), x.dim(1))) return mean(h, 1);
  return div(sum(mul(h, expandDims(mask, -1)), 1), expandDims(maximum(sum(mask, 1), 1), -1));
}

/** x·(Σ wᵢτᵢ) + Σ wᵢ·(change of the bias)ᵢ */
function mixedChange(x: Tensor, site: Site, mixture: Tensor, tensors: ParamTree): Tensor {
  const { name, bias, layout } = site.weight!;
  const experts = tensors[expertsName(name)]!;
  const [models, rows, columns] = experts.shape as readonly [number, number, number];
  const biases = bias === undefined ? undefined : tensors[expertsName(bias)];
  if (mixture.rank === 2) {
    const weight = reshape(matmul(mixture, reshape(experts, [models, rows * columns])), [mixture.dim(0), rows, columns]);
    const change = matmul(x, weight, { transB: layout === "out-in" });
    return biases ? add(change, expandDims(matmul(mixture, biases), 1)) : change;
  }
  const each = Array.from({ length: models }, (_, i) => {
    const weight = squeeze(slice(experts, 0, i, 1), 0);
    return mul(linear(x, weight, undefined, layout), slice(mixture, -1, i, 1));
  });
  const change = each.reduce((a, b) => add(a, b));
  return biases ? add(change, matmul(mixture, biases)) : change;
}
