import type { PageText } from "./html.js";

const FRONT_MATTER = /^---\r?\n([\s\S]*?)\r?\n(?:---|\.\.\.)[ \t]*(?:\r?\n|$)/;
const TITLE = /^title:(.*)$/m;
const HEADING = /^#[ \t](.*)$/m;
/** Links and pictures: what is seen of them. */
const LINK = /!?\[([^[\]]*)\](?:\([^()\s]*(?:[ \t]+"[^"]*")?\)|\[[^[\]]*\])/g;

/**
 * Title and text of Markdown: the title of its front matter, else its first heading of the first level. Front matter and the targets of links are
 * left out; other marks stay, for words are taken without them.
 */
export function markdownText(markdown: string): PageText {
  const front = FRONT_MATTER.exec(markdown);
  const body = front ? markdown.slice(front[0].length) : markdown;
  const heading = HEADING.exec(body);
  const named = front ? unquoted(TITLE.exec(front[1]!)?.[1] ?? "") : "";
  const title = (named || headingText(heading?.[1] ?? "")).replace(LINK, "$1");
  const rest = heading && named === "" ? body.replace(heading[0], "") : body;
  return { ...(title === "" ? {} : { title }), text: rest.replace(LINK, "$1").trim() };
}

/** A heading without the marks that may close it. */
function headingText(text: string): string {
  const line = text.trim();
  let end = line.length;
  while (end > 0 && line[end - 1] === "#") end--;
  return line.slice(0, end).trimEnd();
}

function unquoted(text: string): string {
  const value = text.trim();
  const [first, last] = [value[0], value.at(-1)];
  return value.length > 1 && first === last && (first === '"' || first === "'") ? value.slice(1, -1) : value;
}
