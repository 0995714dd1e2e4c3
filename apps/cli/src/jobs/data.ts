import { existsSync } from "node:fs";
import { datasetFolder, listDatasets, pullDataset, showDataset } from "@lfm/data";
import type { Console, Io } from "../program/console.js";
import { formatBytes, formatTable } from "../render/table.js";
import { firstOfSet, type ShowOptions, saidRows, showExamples } from "./show-examples.js";

const location = (io: Io): { readonly folder?: string } => (io.env.LFM_DATA === undefined ? {} : { folder: io.env.LFM_DATA });

export async function listData(console: Console, io: Io): Promise<void> {
  const rows = await Promise.all(
    listDatasets().map(async (d) => {
      const { complete } = await showDataset(d.name, location(io));
      return { ...d, here: complete, folder: datasetFolder(d.name, location(io)) };
    }),
  );
  console.result({ datasets: rows }, () =>
    formatTable(rows, [
      { title: "name", value: (r) => r.name },
      { title: "kind", value: (r) => r.kind },
      { title: "size", value: (r) => formatBytes(r.bytes), align: "right" },
      { title: "here", value: (r) => (r.here ? "yes" : "no") },
      { title: "licence", value: (r) => r.licence },
      { title: "what", value: (r) => r.title },
    ]),
  );
}

export async function pullData(name: string, out: string | undefined, console: Console, io: Io): Promise<void> {
  const folder = out ?? io.env.LFM_DATA;
  const result = await pullDataset(name, { ...(folder === undefined ? {} : { folder }), progress: (p) => console.progress(p) });
  console.result(result, () =>
    [
      `${result.name} in ${result.folder}: ${result.downloaded.length} files fetched, ${result.present.length} already there`,
      ...(result.unavailable.length > 0 ? [`no public address is known of: ${result.unavailable.join(", ")}`] : []),
    ].join("\n"),
  );
}

/** A file of examples, or a set by its name. */
export async function showData(name: string, options: ShowOptions, console: Console, io: Io): Promise<void> {
  if (existsSync(name) || /[/\\.]/.test(name)) return showExamples(name, options, console);
  const d = await showDataset(name, location(io));
  const first = d.complete ? await firstOfSet(d.name, d.kind, location(io), options.rows) : [];
  console.result({ ...d, first }, () =>
    [
      `${d.name}: ${d.title}`,
      `source: ${d.source}`,
      `licence: ${d.licence}`,
      `splits: ${Object.entries(d.counts)
        .map(([split, n]) => `${split} ${n.toLocaleString("en")}`)
        .join(", ")} — ${d.splitRule}`,
      `folder: ${d.folder}`,
      ...d.states.map((s) => `  ${s.state === "ok" ? "✓" : "✗"} ${s.path}${s.state === "ok" ? "" : ` (${s.reason ?? s.state})`}`),
      ...(d.complete ? [] : [`fetch it: lfm data pull ${d.name}`]),
      ...(first.length > 0 ? ["", ...saidRows(first)] : []),
    ].join("\n"),
  );
}
