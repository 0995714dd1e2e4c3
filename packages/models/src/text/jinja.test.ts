import { describe, expect, it } from "vitest";
import { boundedTemplate } from "./jinja.js";

const render = (source: string, deadlineMs = 10_000): string => boundedTemplate(source, { deadlineMs }).render({});

describe("templates that would not end", () => {
  const doubled = (what: string): string =>
    `{% set ns = namespace(s=${what}) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`;
  it.each([
    ["loops in loops", "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "50 ms"],
    [
      "a macro that calls itself twice",
      "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
      "50 ms",
    ],
    ["a range without end", "{% for i in range(1000000000000) %}{% endfor %}", "items"],
    ["a list that doubles", doubled("[1]"), "items"],
    ["a text that doubles", doubled("'x'"), "characters"],
  ])("%s: refused in time", (_what, source, why) => {
    const started = performance.now();
    expect(() => render(source, why === "50 ms" ? 50 : undefined)).toThrow(
      expect.objectContaining({ code: "BUDGET_EXCEEDED", message: expect.stringContaining(why) }),
    );
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it("nor does what comes after them suffer", () => {
    const template = boundedTemplate("{% for i in range(n) %}{% for j in range(n) %}{% endfor %}{% endfor %}{{ n }}", { deadlineMs: 500 });
    expect(() => template.render({ n: 100_000 })).toThrow(expect.objectContaining({ code: "BUDGET_EXCEEDED" }));
    expect(template.render({ n: 2 })).toBe("2");
  });
});

describe("what templates find", () => {
  it.each([
    ["{{ range(4) | join(' ') }}", "0 1 2 3"],
    ["{{ range(2, 9, 3) | join(' ') }}", "2 5 8"],
    ["{{ range(3, 0, -1) | join(' ') }}", "3 2 1"],
    ["{{ range(5, 2) | join(' ') }}|", "|"],
    ["{{ 1 if True }}{{ 2 if none is none }}{{ 3 if x is defined }}", "12"],
  ])("%s", (source, wanted) => {
    expect(render(source)).toBe(wanted);
  });

  it("the time, as Python writes it", () => {
    const at = (): Date => new Date(2026, 6, 4, 13, 5, 9);
    const template = boundedTemplate("{{ strftime_now('%d %b %Y, %A %I:%M %p %S %y-%m %B %a %H %e 100%%') }}", { now: at });
    expect(template.render({})).toBe("04 Jul 2026, Saturday 01:05 PM 09 26-07 July Sat 13  4 100%");
    expect(() => render("{{ strftime_now('%Q') }}")).toThrow("%Q");
  });

  it("a way to refuse", () => {
    expect(() => render("{{ raise_exception('no') }}")).toThrow("no");
  });
});
