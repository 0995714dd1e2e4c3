import { type Child, el, Markup } from "./markup.js";
import { chartStyle, colors } from "./style.js";

/** A drawing as a file of its own, in light and dark as its reader has it. @param label for screen readers */
export function svgFile(width: number, height: number, label: string, ...children: readonly Child[]): string {
  const page =
    'svg{background:var(--paper);font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}';
  const frame = { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label };
  return `${el("svg", frame, el("style", {}, new Markup(`${colors}${page}${chartStyle}`)), children).text}\n`;
}
