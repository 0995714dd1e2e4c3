export { trainableParams } from "@lfm/core";
export * from "./fit.js";
export * from "./method-fit.js";
export * from "./scored-positions.js";
export * from "./task.js";
