// SIMD kernels of merging over runs of numbers in linear memory. Pointers are byte addresses; n counts elements. Compiled by `npm run kernels`.
// Loops work on whole vectors; what is left over is finished one by one.
export * from "./arithmetic";
export * from "./dropping";
export * from "./election";
export * from "./formats";
export * from "./selection";
