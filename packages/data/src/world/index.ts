export * from "./relations.js";
export * from "./statements.js";
export * from "./text-tasks.js";
export * from "./vocabulary.js";
export * from "./world.js";
export * from "./zoo-corpus.js";
export * from "./zoo-evaluation.js";
