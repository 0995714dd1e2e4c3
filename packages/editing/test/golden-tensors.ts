import { readFileSync } from "node:fs";
import { join } from "node:path";
import { f32, type HostTensor, loadWeight, type Model } from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { modelFromConfig } from "@lfm/models";
import { type Corpus, tokenCorpus } from "@lfm/statistics";

export interface Golden<J> {
  readonly json: J;
  get(name: string): HostTensor;
  /** Rows of a matrix, f64. */
  rows(name: string): Float64Array[];
  /** Texts to take the keys of, where it has some. */
  corpus(): Corpus;
}

/** What a maker of tools/golden wrote. */
export function readGolden<J>(name: string): Golden<J> {
  const folder = join(import.meta.dirname, "golden", name);
  const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
  const get = (key: string): HostTensor => loadWeight(tensors[key]!);
  return {
    json: JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as J,
    get,
    rows: (key) => {
      const { data, shape } = get(key);
      const width = shape[1]!;
      return Array.from({ length: shape[0]! }, (_, i) => Float64Array.from({ length: width }, (_, j) => Number(data[i * width + j])));
    },
    corpus: () => {
      const mask = get("in/corpus_mask");
      return tokenCorpus("corpus", { tokens: get("in/corpus"), mask: f32(Float32Array.from(mask.data as Int32Array), mask.shape) });
    },
  };
}

/** A small model of the fixtures of @lfm/models. */
export function goldenModel(kind: string): Model {
  const folder = join(import.meta.dirname, "../../models/test/golden", kind);
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
  return modelFromConfig(config, readWeights(join(folder, "model.safetensors")).weights);
}

/** ‖got − wanted‖ / ‖wanted‖ */
export function relativeError(got: ArrayLike<number | bigint>, wanted: ArrayLike<number | bigint>): number {
  if (got.length !== wanted.length) return Number.POSITIVE_INFINITY;
  let [error, size] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    error += (Number(got[i]) - Number(wanted[i])) ** 2;
    size += Number(wanted[i]) ** 2;
  }
  return Math.sqrt(error / size);
}
