export type { ColumnChoice, ColumnRole, Columns } from "./columns.js";
export {
  type ChatRow,
  type ExampleSource,
  type Examples,
  missingColumns,
  type PromptRow,
  placeOf,
  readExamples,
  readUnanswered,
  type TextRow,
  type Unanswered,
} from "./examples.js";
export type { ChatMessage } from "./messages.js";
