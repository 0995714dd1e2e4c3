/** A column of a text table; numbers stand right-aligned. */
export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  readonly align?: "left" | "right";
}

/** Rows as aligned text, a rule under the titles. Widths count code points. */
export function formatTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const cells = rows.map((row) => columns.map((c) => c.value(row)));
  const widths = columns.map((c, i) => Math.max(length(c.title), ...cells.map((r) => length(r[i]!))));
  const line = (values: readonly string[]): string =>
    values
      .map((v, i) => (columns[i]!.align === "right" ? " ".repeat(widths[i]! - length(v)) + v : v + " ".repeat(widths[i]! - length(v))))
      .join("  ")
      .trimEnd();
  return [line(columns.map((c) => c.title)), line(widths.map((w) => "─".repeat(w))), ...cells.map(line)].join("\n");
}

function length(text: string): number {
  return [...text].length;
}

/** 1536 → "1.5 KiB". */
export function formatBytes(bytes: number | null): string {
  if (bytes === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
