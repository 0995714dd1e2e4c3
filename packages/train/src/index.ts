export * from "./fit.js";
export * from "./task.js";
