/** The page's script: sorts tables by a column, filters rows by paradigm and text. The page reads well without it. */
export const script = `
(() => {
  "use strict";
  const valueOf = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  for (const table of document.querySelectorAll("table[data-sort]")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, i) => {
      head.querySelector("button")?.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const turn = { ascending: "descending", descending: "ascending" };
        const order = turn[now] ?? head.dataset.first ?? "ascending";
        for (const h of heads) if (h.hasAttribute("aria-sort")) h.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", order);
        const rows = [...body.rows].map((row) => [row, valueOf(row, i)]);
        rows.sort(([, a], [, b]) => {
          if (a === "" || b === "") return (a === "") - (b === "");
          return order === "ascending" ? compare(a, b) : compare(b, a);
        });
        body.append(...rows.map(([row]) => row));
      });
    });
  }
  for (const bar of document.querySelectorAll("[data-filters]")) {
    const rows = [...document.getElementById(bar.dataset.filters).tBodies[0].rows];
    const buttons = [...bar.querySelectorAll("button")];
    const text = bar.querySelector("input");
    const count = bar.querySelector("output");
    const apply = () => {
      const paradigm = buttons.find((b) => b.getAttribute("aria-pressed") === "true").value;
      const words = text.value.toLowerCase().split(/\\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const content = row.textContent.toLowerCase();
        row.hidden = (paradigm !== "" && row.dataset.paradigm !== paradigm) || !words.every((w) => content.includes(w));
        if (!row.hidden) shown++;
      }
      count.textContent = shown === rows.length ? "" : shown + " of " + rows.length;
    };
    for (const button of buttons) {
      button.addEventListener("click", () => {
        for (const b of buttons) b.setAttribute("aria-pressed", String(b === button));
        apply();
      });
    }
    text.addEventListener("input", apply);
  }
})();
`;
