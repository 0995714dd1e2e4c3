import { Tokenizer } from "htmlparser2";

/** What a reader sees of a page. */
export interface PageText {
  readonly title?: string;
  /** A line a block: paragraph, heading, cell, item. */
  readonly text: string;
}

/** What stands in these is for programs. */
const HIDDEN = new Set(["script", "style", "template"]);

const BLOCKS = new Set(
  (
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption figure footer form frameset h1 h2 h3 h4 " +
    "h5 h6 header hr html legend li main menu nav ol optgroup option p pre search section summary table tbody td tfoot th thead tr ul"
  ).split(" "),
);

/**
 * Text of an HTML page: characters decoded, scripts and styles left out, white space made one. Tags are looked at one by one and no tree is
 * built, so that neither depth nor tags that are never closed cost more than their letters.
 */
export function htmlText(html: string): PageText {
  const parts: string[] = [];
  const titles: string[] = [];
  let [hidden, inTitle, titled] = [0, false, false];
  const say = (text: string): void => {
    if (inTitle) {
      if (!titled) titles.push(text);
    } else if (hidden === 0) parts.push(text);
  };
  const opened = (name: string): void => {
    if (HIDDEN.has(name)) hidden++;
    else if (name === "title") inTitle = true;
    else if (BLOCKS.has(name)) parts.push("\n");
  };
  const closed = (name: string): void => {
    if (HIDDEN.has(name)) hidden = Math.max(0, hidden - 1);
    else if (name === "title") [inTitle, titled] = [false, true];
    else if (BLOCKS.has(name)) parts.push("\n");
  };
  const nothing = (): void => {};
  const nameAt = (start: number, end: number): string => html.slice(start, end).toLowerCase();
  const tokenizer = new Tokenizer(
    { decodeEntities: true },
    {
      ontext: (start, end) => say(html.slice(start, end)),
      ontextentity: (codepoint) => say(String.fromCodePoint(codepoint)),
      oncdata: (start, end, endOffset) => say(html.slice(start, end - endOffset)),
      onopentagname: (start, end) => opened(nameAt(start, end)),
      onclosetag: (start, end) => closed(nameAt(start, end)),
      onattribdata: nothing,
      onattribentity: nothing,
      onattribend: nothing,
      onattribname: nothing,
      oncomment: nothing,
      ondeclaration: nothing,
      onend: nothing,
      onopentagend: nothing,
      onprocessinginstruction: nothing,
      onselfclosingtag: nothing,
    },
  );
  tokenizer.write(html);
  tokenizer.end();
  const title = tidy(titles.join("")).replaceAll("\n", " ");
  return { ...(title === "" ? {} : { title }), text: tidy(parts.join("")) };
}

/** Lines without the white space around and between words that no reader sees. */
function tidy(text: string): string {
  return text
    .split("\n")
    .map((line) => line.replace(/\s+/g, " ").trim())
    .filter(Boolean)
    .join("\n");
}
