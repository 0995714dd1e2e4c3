import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { flattenTree, mapTree, type Tree } from "./tree.js";

const isNumber = (x: unknown): x is number => typeof x === "number";
const isString = (x: unknown): x is string => typeof x === "string";
const tree: fc.Arbitrary<Tree<number>> = fc.letrec<{ tree: Tree<number> }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 3 },
    fc.integer(),
    fc.array(tie("tree"), { maxLength: 3 }),
    fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), tie("tree"), { maxKeys: 3 }),
  ),
})).tree;

describe("trees", () => {
  it("flatten to paths in a fixed order", () => {
    expect(flattenTree<number>({ b: [1, { c: 2 }], a: 3 }, isNumber)).toEqual([
      ["b/0", 1],
      ["b/1/c", 2],
      ["a", 3],
    ]);
    expect(flattenTree<number>(5, isNumber)).toEqual([["", 5]]);
    expect(flattenTree<number>({ a: 1 }, isNumber, "in")).toEqual([["in/a", 1]]);
  });

  it("map every leaf under the path that flattening gives it", () => {
    fc.assert(
      fc.property(tree, (t) => {
        const paths: string[] = [];
        const mapped = mapTree<Tree<number>, number, string>(t, isNumber, (x, path) => {
          paths.push(path);
          return `${x}`;
        });
        const before = flattenTree<number>(t, isNumber);
        expect(paths).toEqual(before.map(([path]) => path));
        expect(flattenTree<string>(mapped as Tree<string>, isString)).toEqual(before.map(([path, x]) => [path, `${x}`]));
      }),
    );
  });

  it("leave out what is undefined", () => {
    expect(mapTree({ a: 1, b: undefined } as unknown as Tree<number>, isNumber, (x: number) => x + 1)).toEqual({ a: 2 });
    expect(flattenTree({ a: 1, b: undefined } as unknown as Tree<number>, isNumber)).toEqual([["a", 1]]);
  });
});
