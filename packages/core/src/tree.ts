/** Nested records and arrays with values of one kind at the leaves: parameters, states, batches. */
export type Tree<T> = T | readonly Tree<T>[] | { readonly [key: string]: Tree<T> };

/** The same structure with other leaves. */
export type MapTree<S, From, To> = S extends From
  ? To
  : S extends readonly (infer E)[]
    ? readonly MapTree<E, From, To>[]
    : { readonly [K in keyof S]: MapTree<S[K], From, To> };

/** Leaves with their paths ("a/0/b"), in a fixed order. */
export function flattenTree<T>(tree: Tree<T>, isLeaf: (x: unknown) => x is T, prefix = ""): [string, T][] {
  if (isLeaf(tree)) return [[prefix, tree]];
  const entries = Array.isArray(tree) ? tree.map((v, i) => [String(i), v] as const) : Object.entries(tree as Record<string, Tree<T>>);
  return entries.flatMap(([k, v]) => (v === undefined ? [] : flattenTree(v as Tree<T>, isLeaf, prefix === "" ? k : `${prefix}/${k}`)));
}

/** Rebuilds the structure with `f` of every leaf. */
export function mapTree<S, From, To>(
  tree: S,
  isLeaf: (x: unknown) => x is From,
  f: (leaf: From, path: string) => To,
  prefix = "",
): MapTree<S, From, To> {
  const walk = (node: unknown, path: string): unknown => {
    if (isLeaf(node)) return f(node, path);
    const at = (k: string): string => (path === "" ? k : `${path}/${k}`);
    if (Array.isArray(node)) return node.map((v, i) => walk(v, at(String(i))));
    return Object.fromEntries(
      Object.entries(node as object)
        .filter(([, v]) => v !== undefined)
        .map(([k, v]) => [k, walk(v, at(k))]),
    );
  };
  return walk(tree, prefix) as MapTree<S, From, To>;
}
