import { LfmError, type Model, type Weight } from "@lfm/core";
import { modelFromConfig } from "@lfm/models";

/** What a config calls its number of blocks. */
const LAYER_KEYS = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"] as const;
/** Lists in configs with an entry for each block. */
const LAYER_LISTS = ["layer_types", "mlp_layer_types"] as const;

/**
 * The model with some of its blocks alone, in the order given; what stands before and behind them stays. The weights are the model's own.
 * @throws {LfmError} CONFIG_INVALID for a block that is not there or named twice, CAPABILITY_MISSING for a model whose blocks are not all alike
 */
export function keepLayers(model: Model, layers: readonly number[]): Model {
  const { info } = model;
  const blocks = info.sites.filter((s) => s.kind === "block");
  const key = LAYER_KEYS.find((k) => info.config[k] === blocks.length);
  if (!key || blocks.length === 0)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/distillation] layers of ${info.architecture} cannot be left out: they are not all alike`,
      {
        hint: "write a config.json of a smaller one, and give its folder: lfm student --config",
      },
    );
  requireLayers(layers, blocks.length);
  const lists = LAYER_LISTS.flatMap((name) => {
    const own: unknown = info.config[name];
    return Array.isArray(own) && own.length === blocks.length ? [[name, layers.map((i) => own[i] as unknown)] as const] : [];
  });
  const config = { ...info.config, ...Object.fromEntries(lists), model_type: info.architecture, [key]: layers.length };
  const params: Record<string, Weight> = {};
  const within = (name: string): number => blocks.findIndex((b) => name.startsWith(`${b.path}.`));
  for (const [name, weight] of Object.entries(model.params)) {
    const block = within(name);
    if (block < 0) params[name] = weight;
    else
      for (const [place, kept] of layers.entries())
        if (kept === block) params[`${blocks[place]!.path}${name.slice(blocks[block]!.path.length)}`] = weight;
  }
  return modelFromConfig(config, params);
}

/** Every n-th of so many layers, the first of them included: DistilBERT's start (arXiv 1910.01108). */
export function everyLayer(count: number, n: number): readonly number[] {
  return Array.from({ length: Math.ceil(count / n) }, (_, i) => i * n);
}

function requireLayers(layers: readonly number[], count: number): void {
  const wrong = layers.find((i, at) => !Number.isInteger(i) || i < 0 || i >= count || layers.indexOf(i) !== at);
  if (layers.length > 0 && wrong === undefined) return;
  const what = wrong === undefined ? "no layer is kept" : `${wrong} is no layer, or stands twice`;
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] ${what}: there are 0…${count - 1}`, {
    hint: `--layers ${everyLayer(count, 2).join(",")}`,
  });
}
