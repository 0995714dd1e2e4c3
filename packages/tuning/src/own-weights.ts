import type { Hook, ParamTree, Site } from "@lfm/core";

/** Name of the matrix of its own that an output layer has on a model where it is the embedding. */
export function ownWeight({ path, kind, weight }: Site): string | undefined {
  return kind === "head" && weight && weight.name !== `${path}.weight` ? `${path}.weight` : undefined;
}

/** Output layers that are the embedding in the base, and that a delta has a matrix of its own for. */
export function ownWeights(tensors: ParamTree): readonly Hook[] {
  const own = (site: Site): ParamTree[string] | undefined => {
    const name = ownWeight(site);
    return name === undefined ? undefined : tensors[name];
  };
  return [{ matches: (site) => own(site) !== undefined, weight: (_w, site) => own(site)! }];
}
