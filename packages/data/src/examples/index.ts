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
export type { ChatExchange, Exchange, TextExchange } from "./exchange.js";
export type { ExampleSource } from "./fields.js";
export type { ChatMessage } from "./messages.js";
export {
  holdsPairs,
  type JudgedExample,
  type PairExample,
  type Preferences,
  readJudged,
  readPairs,
} from "./preferences.js";
