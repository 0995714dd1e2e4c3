import { f32, type HostTensor } from "../dtype.js";

/** The numbers of `Draws` in tools/golden/fixture.py: x ← (1664525·x + 1013904223) mod 2³², in [−1, 1). Fixtures hold only what comes of them. */
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
