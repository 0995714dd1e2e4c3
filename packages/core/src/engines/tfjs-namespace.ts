/** A tensor of tfjs, as far as lowerings use it. */
export interface TfTensor {
  readonly shape: number[];
  readonly dtype: string;
  dataSync(): Float32Array | Int32Array | Uint8Array;
}

/** The tfjs namespace, loaded lazily from the best installed package; its functions are typed where they are called. */
// biome-ignore lint/suspicious/noExplicitAny: an optional peer whose types are not there at build time
export type Tf = any;
