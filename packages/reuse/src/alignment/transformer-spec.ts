import { LfmError, type Model, type ModelInfo, type ModelInput, placeholder, type Site, sym, topologicalOrder } from "@lfm/core";
import type { AxisUse, HeadGroup, PermutationGroup, PermutationSpec, Tap, UnitGroup } from "./permutation-spec.js";

interface Draft<G extends PermutationGroup> {
  readonly group: Omit<G, "uses" | "taps">;
  readonly uses: AxisUse[];
  readonly taps: Tap[];
}

/**
 * Symmetries of a transformer: one order for the whole residual stream (embeddings, norms and every matrix that reads or writes it; a tied head
 * is the embedding, so it moves with it), one for the hidden units of each MLP (gate and up projections together), and each layer's heads.
 */
export function transformerSpec(model: Model): PermutationSpec {
  const { info } = model;
  const fixed: { what: string; reason: string }[] = [];
  const head = info.sites.find((s) => s.kind === "head");
  const pooler = info.sites.find((s) => s.kind === "pooler");
  const residual: Draft<UnitGroup> = {
    group: { kind: "units", id: "residual", size: info.hiddenSize, elementwise: false },
    uses: [],
    taps: [],
  };
  const others: Draft<PermutationGroup>[] = [];
  const pooled: Draft<UnitGroup> = {
    group: { kind: "units", id: pooler?.path ?? "", size: info.hiddenSize, elementwise: true },
    uses: [],
    taps: [],
  };
  const headReadsPooler = head !== undefined && pooler !== undefined && dependsOn(model, pooler.weight!.name);
  const covered = new Set<string>();
  const headNorms: string[] = [];
  const use = (draft: Draft<PermutationGroup>, param: string, axis: number, makes: boolean, channel = "units", offset = 0): void => {
    covered.add(param);
    // A tied head reads the table that the embedding makes: one axis, used once.
    if (draft.uses.some((u) => u.param === param && u.axis === axis && u.offset === offset)) return;
    draft.uses.push({ param, axis, offset, block: 1, channel, makes });
  };
  const makes = (draft: Draft<PermutationGroup>, site: Site, channel?: string, offset?: number): void => {
    const { name, bias, layout } = site.weight!;
    use(draft, name, layout === "out-in" ? 0 : 1, true, channel, offset);
    if (bias !== undefined) use(draft, bias, 0, true, channel, offset);
  };
  const reads = (draft: Draft<PermutationGroup>, site: Site, channel?: string): void =>
    use(draft, site.weight!.name, site.weight!.layout === "out-in" ? 1 : 0, false, channel);
  const tap = (site: Site, side: Tap["side"], channel = "units", offset = 0): Tap => ({
    site: site.path,
    side,
    axis: "last",
    offset,
    block: 1,
    channel,
  });

  for (const site of info.sites) {
    const layer = info.sites.filter((s) => s.layer === site.layer && site.layer !== undefined);
    if (site.kind === "embedding") makes(residual, site);
    else if (site.kind === "norm" && /\.[qk]_norm$/.test(site.path)) {
      // A norm of every head alike: heads change places and their dimensions do not.
      for (const param of Object.values(site.params ?? {})) covered.add(param);
      headNorms.push(site.path);
    } else if (site.kind === "norm" || site.kind === "conv") {
      for (const param of Object.values(site.params ?? {})) use(residual, param, 0, true);
    } else if (site.kind === "block") residual.taps.push(tap(site, "output"));
    else if (site.kind === "pooler") {
      reads(residual, site);
      for (const p of [site.weight!.name, site.weight!.bias]) if (p !== undefined) covered.add(p);
      if (headReadsPooler) makes(pooled, site);
    } else if (site.kind === "head") {
      reads(headReadsPooler ? pooled : residual, site);
      if (site.weight!.bias !== undefined) covered.add(site.weight!.bias);
      if (headReadsPooler) pooled.taps.push(tap(site, "input"));
    } else if (site.role === "in") {
      reads(residual, site);
      const draft: Draft<UnitGroup> = {
        group: { kind: "units", id: site.path, size: site.weight!.out, elementwise: true },
        uses: [],
        taps: [],
      };
      const gate = layer.find((s) => s.role === "gate");
      const out = requireRole(layer, "out", site);
      makes(draft, site);
      if (gate) makes(draft, gate);
      reads(draft, out);
      draft.taps.push(tap(out, "input"));
      others.push(draft);
    } else if (site.role === "gate") reads(residual, site);
    else if (site.role === "out" || site.role === "o") makes(residual, site);
    else if (site.role === "q" || site.role === "qkv") {
      reads(residual, site);
      others.push(headsDraft(info, site, layer, makes, reads, tap));
    } else if (site.role === "k" || site.role === "v") reads(residual, site);
    else if (site.weight) throw unknown(site.weight.name);
  }
  // Tables without a site are added to the stream: positions, segments, the class token.
  for (const [name, { shape }] of Object.entries(info.params)) {
    if (covered.has(name)) continue;
    if (shape.length < 2 || shape.at(-1) !== info.hiddenSize) throw unknown(name);
    use(residual, name, shape.length - 1, true);
  }
  if (head)
    fixed.push({ what: `rows of "${head.weight!.name}"`, reason: "they are the answers, in the order of the vocabulary or the labels" });
  if (!head) fixed.push({ what: "the residual stream", reason: "the hidden state is the encoder's answer" });
  if (pooler && !headReadsPooler)
    fixed.push({ what: `outputs of "${pooler.path}"`, reason: head ? "nothing reads them" : "they are the encoder's answer" });
  const turned = others.filter((d) => d.group.kind === "heads" && !(d.group as HeadGroup).movesQk);
  if (turned.length > 0)
    fixed.push({ what: "dimensions of q and k inside a head", reason: "rotary positions turn each pair of dimensions at its own rate" });
  if (headNorms.length > 0) fixed.push({ what: "norms of queries and keys", reason: "all heads of a layer share them" });
  const drafts = [...(head ? [residual] : []), ...others, ...(headReadsPooler ? [pooled] : [])];
  return { groups: drafts.map(({ group, uses, taps }) => ({ ...group, uses, taps }) as unknown as PermutationGroup), fixed };
}

function headsDraft(
  info: ModelInfo,
  site: Site,
  layer: readonly Site[],
  makes: (draft: Draft<PermutationGroup>, site: Site, channel: string, offset?: number) => void,
  reads: (draft: Draft<PermutationGroup>, site: Site, channel: string) => void,
  tap: (site: Site, side: Tap["side"], channel: string, offset?: number) => Tap,
): Draft<HeadGroup> {
  const heads = info.heads;
  const fused = site.role === "qkv";
  const qSize = fused ? site.weight!.out / 3 : site.weight!.out;
  const kvSize = fused ? qSize : requireRole(layer, "k", site).weight!.out;
  const headDim = qSize / (heads ?? 0);
  const kvHeads = kvSize / headDim;
  const queryHeads = (heads ?? 0) / kvHeads;
  if (!heads || ![headDim, kvHeads, queryHeads].every(Number.isInteger))
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/reuse] alignment: "${site.path}" makes ${qSize} values of q and ${kvSize} of k for ${heads} heads`,
    );
  const group = { kind: "heads", id: site.path, kvHeads, queryHeads, headDim, movesQk: hasPositionTable(info) } as const;
  const draft: Draft<HeadGroup> = { group, uses: [], taps: [] };
  const sources = fused ? [site, site, site] : [site, requireRole(layer, "k", site), requireRole(layer, "v", site)];
  for (const [i, channel] of ["q", "k", "v"].entries()) {
    const offset = fused ? i * qSize : 0;
    makes(draft, sources[i]!, channel, offset);
    draft.taps.push(tap(sources[i]!, "output", channel, offset));
  }
  const o = requireRole(layer, "o", site);
  reads(draft, o, "o");
  draft.taps.push(tap(o, "input", "o"));
  return draft;
}

/** Positions are a table that is added to the embeddings; without one they must come in inside the heads. */
function hasPositionTable(info: ModelInfo): boolean {
  return (
    !("rope_theta" in info.config) &&
    Object.keys(info.params).some((name) => /(^|\.)(wpe\.weight|position_embeddings(\.weight)?)$/.test(name))
  );
}

function requireRole(layer: readonly Site[], role: NonNullable<Site["role"]>, beside: Site): Site {
  const found = layer.find((s) => s.role === role);
  if (!found) throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] alignment: no site of role "${role}" beside "${beside.path}"`);
  return found;
}

function unknown(param: string): LfmError {
  return new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] alignment: no rule says which units "${param}" belongs to`, {
    hint: "give a PermutationSpec of your own",
  });
}

/** True where the logits depend on a parameter: what a classifier reads stands in its forward pass alone. */
function dependsOn(model: Model, param: string): boolean {
  const params = Object.fromEntries(Object.entries(model.info.params).map(([name, { shape }]) => [name, placeholder(name, "f32", shape)]));
  const { logits } = model.forward(params, plainInput(model.info), { mode: "eval" });
  if (!logits) return false;
  const wanted = params[param]?.node;
  return topologicalOrder([logits]).some((node) => node === wanted);
}

function plainInput(info: ModelInfo): ModelInput {
  if (info.input === "tokens") return { tokens: placeholder("tokens", "i32", [sym("batch"), sym("seq")]) };
  const { num_channels: channels, image_size: size } = info.config as { num_channels?: number; image_size?: number };
  if (info.input === "pixels" && channels && size) return { pixels: placeholder("pixels", "f32", [sym("batch"), channels, size, size]) };
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] alignment: ${info.architecture} reads ${info.input}`);
}
