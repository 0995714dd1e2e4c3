import { LfmError, type ModelInfo, type Site } from "@lfm/core";
import type { AxisUse, PermutationSpec, Tap } from "./permutation-spec.js";

/** Linear and convolution layers one after the other, norms and elementwise activations between: every layer's outputs but the last may be reordered. */
export function chainSpec(info: ModelInfo): PermutationSpec {
  const groups: { kind: "units"; id: string; size: number; elementwise: boolean; uses: AxisUse[]; taps: Tap[] }[] = [];
  const layers = info.sites.filter(isLayer);
  const last = layers.at(-1);
  let open: (typeof groups)[number] | undefined;
  let closed = false;
  for (const site of info.sites) {
    if (isLayer(site)) {
      const layer = axesOf(site);
      if (open) {
        const block = layer.in / open.size;
        if (!Number.isInteger(block))
          throw new LfmError(
            "SHAPE_MISMATCH",
            `[@lfm/reuse] alignment: "${site.path}" reads ${layer.in} values of the ${open.size} units of "${open.id}"`,
          );
        open.uses.push({ param: layer.weight, axis: layer.inAxis, offset: 0, block, channel: "units", makes: false });
        open.taps.push({
          site: site.path,
          side: "input",
          axis: site.kind === "conv" ? "channels" : "last",
          offset: 0,
          block,
          channel: "units",
        });
      }
      if (site === last) closed = true;
      if (closed) {
        open = undefined;
        continue;
      }
      open = { kind: "units", id: site.path, size: layer.out, elementwise: true, uses: [], taps: [] };
      groups.push(open);
      const makes = (param: string, axis: number): AxisUse => ({ param, axis, offset: 0, block: 1, channel: "units", makes: true });
      open.uses.push(makes(layer.weight, layer.outAxis));
      if (layer.bias !== undefined) open.uses.push(makes(layer.bias, 0));
    } else if (site.kind === "norm" && open) {
      for (const param of Object.values(site.params ?? {}))
        open.uses.push({ param, axis: 0, offset: 0, block: 1, channel: "units", makes: true });
    }
  }
  return { groups, fixed: last ? [{ what: `outputs of "${last.path}"`, reason: "they are the model's answer" }] : [] };
}

function isLayer(site: Site): boolean {
  return site.kind === "linear" || site.kind === "conv" || site.kind === "head";
}

function axesOf(site: Site): { weight: string; bias: string | undefined; in: number; out: number; inAxis: number; outAxis: number } {
  if (site.weight) {
    const { name, bias, layout, in: inputs, out } = site.weight;
    const outAxis = layout === "out-in" ? 0 : 1;
    return { weight: name, bias, in: inputs, out, inAxis: 1 - outAxis, outAxis };
  }
  const { conv, params } = site;
  if (!conv || !params?.weight) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] alignment: the site "${site.path}" has no weight`);
  return { weight: params.weight, bias: params.bias, in: conv.in, out: conv.out, inAxis: 1, outAxis: 0 };
}
