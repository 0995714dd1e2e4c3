import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { LfmError } from "@lfm/core";
import { timeLimit } from "@lfm/formats";

/** A template comes out of somebody's folder: it holds no more than this at a time. */
const MOST_ITEMS = 1e6;
const LONGEST_TEXT = 2 ** 24;

type Evaluate = Interpreter["evaluate"];

/** Looks at everything that is made on the way: lists and texts that double each time would fill the memory well before the deadline. */
class BoundedInterpreter extends Interpreter {
  override evaluate(...given: Parameters<Evaluate>): ReturnType<Evaluate> {
    const made = super.evaluate(...given);
    const value: unknown = made.value;
    if (typeof value === "string" && value.length > LONGEST_TEXT) throw beyond(`a text of more than ${LONGEST_TEXT} characters`);
    if (Array.isArray(value) && value.length > MOST_ITEMS) throw beyond(`a list of more than ${MOST_ITEMS} items`);
    return made;
  }
}

/** A Jinja template, read and rendered within bounds. */
export interface BoundedTemplate {
  /** @throws {LfmError} BUDGET_EXCEEDED; what the template itself raises */
  render(values: Readonly<Record<string, unknown>>): string;
}

export interface TemplateOptions {
  /** The time that templates write. */
  readonly now?: () => Date;
  /** For reading the source, and for each conversation, by the clock; default 2000: they take a few, and the machine may be busy. */
  readonly deadlineMs?: number;
}

/** @throws {LfmError} BUDGET_EXCEEDED; what is wrong with the source */
export function boundedTemplate(source: string, { now = () => new Date(), deadlineMs = 2000 }: TemplateOptions = {}): BoundedTemplate {
  const limit = timeLimit();
  const inTime = <T>(work: () => T): T => limit.run(deadlineMs, work, () => beyond(`more than ${deadlineMs} ms`));
  const { parsed } = inTime(() => new Template(source));
  return {
    render: (values) => {
      const env = new Environment();
      for (const [name, value] of Object.entries({ ...globals(now), ...values })) env.set(name, value);
      return inTime(() => new BoundedInterpreter(env).run(parsed).toString());
    },
  };
}

function beyond(what: string): LfmError {
  return new LfmError("BUDGET_EXCEEDED", `[@lfm/models] the chat template takes ${what}`, {
    hint: "it may loop for ever: save one that ends as chat_template.jinja, or give prompt + completion",
  });
}

/** What templates of transformers find there beside what Jinja itself has. */
function globals(now: () => Date): Readonly<Record<string, unknown>> {
  const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
  return {
    ...constants,
    raise_exception: (message: string) => {
      throw new Error(message);
    },
    range,
    strftime_now: (format: string) => strftime(now(), format),
  };
}

/** Python's. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  if (step === 0) throw new Error("range() arg 3 must not be zero");
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (count > MOST_ITEMS) throw beyond(`a list of more than ${MOST_ITEMS} items`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Local time as Python's strftime writes it in the C locale. @throws {Error} for a letter that is not known */
function strftime(date: Date, format: string): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const parts: Readonly<Record<string, string>> = {
    Y: String(date.getFullYear()),
    y: two(date.getFullYear() % 100),
    m: two(date.getMonth() + 1),
    d: two(date.getDate()),
    e: String(date.getDate()).padStart(2),
    B: MONTHS[date.getMonth()]!,
    b: MONTHS[date.getMonth()]!.slice(0, 3),
    A: DAYS[date.getDay()]!,
    a: DAYS[date.getDay()]!.slice(0, 3),
    H: two(date.getHours()),
    I: two(date.getHours() % 12 || 12),
    p: date.getHours() < 12 ? "AM" : "PM",
    M: two(date.getMinutes()),
    S: two(date.getSeconds()),
    "%": "%",
  };
  return format.replace(/%(.)/g, (whole, letter: string) => {
    const part = parts[letter];
    if (part === undefined) throw new Error(`strftime_now does not know ${whole}`);
    return part;
  });
}
