export { type EditClaim, type EditConflict, editConflicts } from "./edit-conflicts.js";
export { type EditForm, type EditQuestion, type EditRecord, editForms, placeOfSubject } from "./edit-record.js";
export { editOf, formatEdits, parseEdits, readEdits } from "./read-edits.js";
