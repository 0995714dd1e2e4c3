export type { ColumnChoice, ColumnRole, Columns } from "./columns.js";
export {
  type ChatRow,
  type Examples,
  missingColumns,
  type PromptRow,
  placeOf,
  readExamples,
  readUnanswered,
  type TextRow,
  type Unanswered,
} from "./examples.js";
export type { ExampleSource } from "./fields.js";
export type { ChatMessage } from "./messages.js";
export {
  type ChatExchange,
  type Exchange,
  holdsPairs,
  type JudgedExample,
  type PairExample,
  type Preferences,
  readJudged,
  readPairs,
  type TextExchange,
} from "./preferences.js";
