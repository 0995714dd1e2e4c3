export * from "./classes/index.js";
export * from "./edits/index.js";
export * from "./examples/index.js";
export * from "./real/index.js";
export * from "./retrieval/index.js";
export { readTextFile } from "./text-file.js";
export * from "./world/index.js";
