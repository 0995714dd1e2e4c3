import type { PageText } from "./html.js";

const FRONT_MATTER = /^---\r?\n([\s\S]*?)\r?\n(?:---|\.\.\.)[ \t]*(?:\r?\n|$)/;
const TITLE = /^title:[ \t]*(["']?)(.+?)\1[ \t]*$/m;
const HEADING = /^#[ \t]+(.+?)[ \t]*#*[ \t]*$/m;
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
  const title = (front && TITLE.exec(front[1]!)?.[2]) ?? heading?.[1];
  const rest = heading && heading[1] === title ? body.replace(heading[0], "") : body;
  const text = rest.replace(LINK, "$1").trim();
  return { ...(title === undefined ? {} : { title: title.replace(LINK, "$1") }), text };
}
