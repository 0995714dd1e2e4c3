import { readFileSync } from "node:fs";
import { f32, type HostTensor } from "@lfm/core";

/** The numbers of tools/golden/alignment.py: x ← (1664525·x + 1013904223) mod 2³², in [−1, 1). */
export class Draws {
  private state: number;

  constructor(seed: number) {
    this.state = seed;
  }

  array(n: number): Float64Array {
    return Float64Array.from({ length: n }, () => {
      this.state = (Math.imul(1664525, this.state) + 1013904223) >>> 0;
      return this.state / 2 ** 31 - 1;
    });
  }

  tensor(...shape: number[]): HostTensor {
    return f32(Float32Array.from(this.array(shape.reduce((a, b) => a * b, 1))), shape);
  }
}

export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`golden/alignment/${name}.json`, import.meta.url), "utf8")) as T;
}
