export type { Axis } from "./axes/axis.js";
export { axes } from "./axes/index.js";
export type { Catalog } from "./catalog.js";
export { type ComparedRow, type Comparison, compareRuns } from "./compare.js";
export { type ExpectedTime, expectedTime, type MeasuredTimes, measuredTimes } from "./expected-time.js";
export { cellName, type Plan, type PlannedCell, type PlanOptions, planSuite } from "./plan.js";
export { type MeasuredCell, writeMeasuredCell } from "./record-run.js";
export { type ReportTexts, renderReport, writeReport } from "./report/write-report.js";
export { type RunEvent, type RunOptions, type RunOutcome, runSuite } from "./run.js";
export { watchPeakMemory } from "./runner/peak-memory.js";
export * from "./scenario.js";
export {
  type AskedEdit,
  type EditEvaluation,
  type EditedBase,
  type EvaluateOptions,
  editOutcome,
  evaluateEdits,
  readUntouched,
  type Untouched,
} from "./scenarios/editing/evaluate-edits.js";
export { type KnownEdit, knownMetrics, knownOf } from "./scenarios/editing/known-edits.js";
export { type RecordEdit, type RecordEdits, recordEdits } from "./scenarios/editing/record-edits.js";
export { openPerplexity, perplexityMetric, type TextPerplexity } from "./scenarios/editing/text-perplexity.js";
export { listSuites, readSuite, type Suite, type SuiteInfo } from "./suite.js";
export { type CellSummary, type RunSummary, readRun, type StoredRun } from "./summary.js";
