// A resolve hook: siblings are found by the private export condition `@lfm/source`, so that no build is needed.

/** @type {import("node:module").ResolveHook} */
export function resolve(specifier, context, nextResolve) {
  return nextResolve(specifier, { ...context, conditions: [...context.conditions, "@lfm/source"] });
}
