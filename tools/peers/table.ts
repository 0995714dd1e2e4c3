import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { folder } from "./record.js";

interface Measured {
  readonly name: string;
  readonly what: string;
  readonly peer: string;
  readonly target: number;
  readonly ratio: { readonly median: number; readonly min: number; readonly max: number };
  readonly oursPeakRssBytes: number;
  readonly theirsPeakRssBytes: number;
  readonly bf16?: { readonly ratio: { readonly median: number } };
  readonly ourStep?: { readonly productShare: number; readonly ofPlain: number };
  readonly machine: { readonly cpu: string; readonly cores: number };
  readonly date: string;
  readonly commit: string;
}

/** Writes docs/peers/README.md from the results that lie beside it. */
export function writeTable(): void {
  const rows = readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .sort()
    .map((file) => JSON.parse(readFileSync(join(folder, file), "utf8")) as Partial<Measured>)
    .filter((row): row is Measured => row.ratio !== undefined && row.machine !== undefined);
  const percent = (x: number | undefined): string => (x === undefined ? "–" : `${(100 * x).toFixed(0)} %`);
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  const lines = rows.map((r) =>
    [
      r.name,
      `${r.what} (${r.peer})`,
      `${r.machine.cpu}, ${r.machine.cores} cores`,
      `${r.ratio.median.toFixed(2)} (${r.ratio.min.toFixed(2)}–${r.ratio.max.toFixed(2)})`,
      r.target,
      r.bf16?.ratio.median.toFixed(2) ?? "–",
      `${mib(r.oursPeakRssBytes)} / ${mib(r.theirsPeakRssBytes)}`,
      percent(r.ourStep?.productShare),
      percent(r.ourStep?.ofPlain),
      `${r.date}, ${r.commit}`,
    ].join(" | "),
  );
  writeFileSync(
    join(folder, "README.md"),
    `# Speed beside peers

Written by \`npm run peers\` from the files in this folder. A ratio is the peer's time over ours, both measured in turn in one run; it holds for the
processor of its row and for no other. "bf16" is the ratio to the peer with its products in bf16, ours in f32. "Products" is the share of our
step's time in matrix products, "of plain" their rate as a share of what the same products reach alone.

| | what (peer) | processor | ratio | target | bf16 | peak RSS, MiB, ours / theirs | products | of plain | date, commit |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
${lines.map((line) => `| ${line} |`).join("\n")}
`,
  );
}
