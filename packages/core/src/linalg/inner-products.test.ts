import { expect, it } from "vitest";
import { Rng } from "../rng.js";
import { addInnerProducts } from "./inner-products.js";

it.each([
  [1, 3],
  [2, 5],
  [5, 7],
  [9, 4100],
  [12, 33],
])("%i vectors of %i values: every inner product, whatever the blocking", (units, width) => {
  const [a, b] = [1, 2].map((seed) => ({ rows: new Rng(seed).normalArray(units * width), width }));
  const gram = new Float64Array(units * units).fill(1);
  addInnerProducts(gram, units, a!, b!);
  for (let i = 0; i < units; i++)
    for (let j = 0; j < units; j++) {
      let sum = 1;
      for (let k = 0; k < width; k++) sum += a!.rows[i * width + k]! * b!.rows[j * width + k]!;
      expect(gram[i * units + j]).toBeCloseTo(sum, 9);
    }
});
