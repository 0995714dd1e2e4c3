// SIMD kernels of search over vectors in linear memory. Pointers are byte addresses. Compiled by `npm run kernels`.
export { openTop, rescoreTop, sortTop } from "./top";
export { assign, fillTables, quantize, signs } from "./encode";
export { insert, openGraph, searchGraph } from "./graph";
export { scan, scanRows } from "./scan";
