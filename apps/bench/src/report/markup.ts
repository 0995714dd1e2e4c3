/** Finished HTML or SVG. Everything else that is put into an element is text and gets escaped. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Child = Markup | string | number | null | undefined | false | readonly Child[];
export type Attributes = Readonly<Record<string, string | number | boolean | null | undefined>>;

const voidElements = new Set(["meta", "br", "input", "link", "hr", "col"]);

/** An element; attributes that are null, undefined or false are left out, true ones stand without a value. */
export function el(name: string, attributes: Attributes = {}, ...children: readonly Child[]): Markup {
  const written = Object.entries(attributes)
    .filter(([, v]) => v !== null && v !== undefined && v !== false)
    .map(([k, v]) => (v === true ? ` ${k}` : ` ${k}="${escapeText(typeof v === "number" ? round(v) : String(v))}"`));
  const open = `<${name}${written.join("")}>`;
  return new Markup(voidElements.has(name) ? open : `${open}${join(children).text}</${name}>`);
}

export function join(children: readonly Child[]): Markup {
  return new Markup(children.map(render).join(""));
}

function render(child: Child): string {
  if (child instanceof Markup) return child.text;
  if (typeof child === "string" || typeof child === "number") return escapeText(String(child));
  return Array.isArray(child) ? join(child).text : "";
}

/** Also drops the control characters that neither HTML nor XML allow. */
export function escapeText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  const clean = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, "");
  return clean.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;").replace(/'/g, "&#39;");
}

/** Coordinates to a hundredth of a pixel. */
function round(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value * 100) / 100) : "0";
}
