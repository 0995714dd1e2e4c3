export * from "./examples.js";
export * from "./real/index.js";
export * from "./retrieval/index.js";
export * from "./world/index.js";
