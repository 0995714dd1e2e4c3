import { LfmError, type Model, type Site } from "@lfm/core";
import { storedName } from "@lfm/models";
import { partPath } from "./bottleneck-sites.js";

/** Path, in a family of architectures, of the module of the library `adapters` that stands at a residual site; its adapters lie in it by name. */
type ModuleOf = (part: string, site: Site) => string;

const beside: ModuleOf = (part, { behind }) => `${part.replace(/\.[^.]+$/, "")}.${behind === "mlp" ? "output" : "attention"}_adapters`;
const inOutput: ModuleOf = (part, { behind }) => (behind === "mlp" ? part.replace(/\.mlp$/, ".output") : `${part}.output`);

const modules: Readonly<Record<string, ModuleOf>> = {
  bert: inOutput,
  roberta: inOutput,
  "xlm-roberta": inOutput,
  distilbert: beside,
  gpt2: beside,
  llama: beside,
  mistral: beside,
  vit: (part, site) => (site.behind === "mlp" ? part.replace(/\.mlp$/, ".output.output_adapters") : beside(part, site)),
  // Layers themselves: encoder.block.0.layer.0
  t5: (part) => part.replace(/\.[^.]+$/, ""),
};

/** Whether the library has bottleneck adapters for an architecture. */
export function hasHubModules({ architecture }: Pick<Model["info"], "architecture">): boolean {
  return architecture in modules;
}

/** Residual sites of a model by the library's paths, as its class for the model's task has them. @throws {LfmError} CAPABILITY_MISSING */
export function hubModules({ info }: Pick<Model, "info">): ReadonlyMap<string, Site> {
  const pathOf = modules[info.architecture];
  if (!pathOf)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] the library adapters has no bottleneck adapters for ${info.architecture}`, {
      hint: `it has them for ${Object.keys(modules).join(", ")}`,
    });
  const residual = info.sites.filter((s) => s.kind === "residual");
  return new Map(residual.map((site) => [storedName(pathOf(partPath(site), site), info), site]));
}

/** The site of a path in a file, which may have the name of the whole model in front or lack it. */
export function hubSite(paths: ReadonlyMap<string, Site>, path: string): Site | undefined {
  const exact = paths.get(path);
  if (exact) return exact;
  for (const [known, site] of paths) if (path.endsWith(`.${known}`) || known.endsWith(`.${path}`)) return site;
  return undefined;
}

/** Tensors of one adapter: the library's names behind the adapter's own, and ours. A norm in front of the bottleneck moves its layer by one. */
export function hubParts(lnBefore: boolean, phm: boolean): Readonly<Record<string, string>> {
  const down = `adapter_down.${lnBefore ? 1 : 0}`;
  const projections = phm
    ? [
        ...["W_left", "W_right", "b"].map((t) => [`${down}.${t}`, `down.${t}`] as const),
        ...["W_left", "W_right", "b"].map((t) => [`adapter_up.${t}`, `up.${t}`] as const),
      ]
    : [
        ...["weight", "bias"].map((t) => [`${down}.${t}`, `down.${t}`] as const),
        ...["weight", "bias"].map((t) => [`adapter_up.${t}`, `up.${t}`] as const),
      ];
  const norms = ["weight", "bias"].flatMap((t) => [
    [`adapter_norm_before.${t}`, `norm_before.${t}`] as const,
    [`adapter_norm_after.${t}`, `norm_after.${t}`] as const,
  ]);
  return Object.fromEntries([...projections, ...norms, ["scaling", "scaling"]]);
}

/** A tensor of an adapter taken apart: `…adapters.mood.adapter_up.weight`. */
export function hubTensor(
  name: string,
  holder: "adapters" | "adapter_fusion_layer",
): { readonly path: string; readonly part: string } | undefined {
  const found = new RegExp(`^(?:(.+)\\.)?${holder}\\.([^.]+)\\.(.+)$`).exec(name);
  return found ? { path: found[1] ?? "", part: found[3]! } : undefined;
}
