export type { Catalog } from "./catalog.js";
export { type ComparedRow, type Comparison, compareRuns } from "./compare.js";
export { cellName, type Plan, type PlannedCell, type PlanOptions, planSuite } from "./plan.js";
export { type ReportTexts, renderReport, writeReport } from "./report/write-report.js";
export { type RunEvent, type RunOptions, type RunOutcome, runSuite } from "./run.js";
export * from "./scenario.js";
export { listSuites, readSuite, type Suite, type SuiteInfo } from "./suite.js";
export { type CellSummary, type RunSummary, readRun, type StoredRun } from "./summary.js";
