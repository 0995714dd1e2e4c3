import { type EditAxis, mainProtocol, type ProbeKindId, type ProtocolId, probeKindIds, probeKinds, protocolIds } from "@lfm/editing";
import { type ReportRow, type Stat, statOf } from "../aggregate.js";

/** A kind of question about edits, or another task that edits are judged by. */
interface EditColumn {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  /** Columns of one group stand together. */
  readonly group: EditAxis | "other tasks";
}

export interface EditLine {
  readonly label: string;
  /** The model before any edit. */
  readonly isReference: boolean;
  readonly status: ReportRow["status"];
  /** Points of 0..100 by column; over seeds. */
  readonly values: readonly Stat[];
}

/** Methods by kinds of question, each by its main protocol. */
export interface EditTable {
  readonly columns: readonly EditColumn[];
  readonly lines: readonly EditLine[];
}

const OTHERS: readonly EditColumn[] = [
  { id: "adapterTask", title: "adapter", about: "a task learned by an adapter before the edits", group: "other tasks" },
  { id: "reading", title: "reading", about: "answers that stand in passages", group: "other tasks" },
];

/** The name that a score of a kind of question has among the metrics. */
function editMetricName(kind: ProbeKindId, protocol: ProtocolId | "known"): string {
  return `${kind}.${protocol}`;
}

/**
 * The table of a task whose cells hold metrics `KIND.PROTOCOL`; undefined for others.
 * @param rows of one task
 */
export function findEditTable(rows: readonly ReportRow[]): EditTable | undefined {
  const names = new Set(rows.flatMap((r) => Object.keys(r.metrics)));
  const kinds = probeKindIds.filter((kind) => names.has(editMetricName(kind, mainProtocol(kind))));
  if (kinds.length === 0) return undefined;
  const columns = [
    ...kinds.map((id): EditColumn => ({ id, title: id.replace(/-/g, " "), about: probeKinds[id].about, group: probeKinds[id].axis })),
    ...OTHERS.filter(({ id }) => names.has(id)),
  ];
  const nameOf = ({ id }: EditColumn): string => (isKind(id) ? editMetricName(id, mainProtocol(id)) : id);
  const none = statOf([]);
  // What was there before any edit is the same in all cells of a seed.
  const measured = rows.find((r) => r.status === "ok");
  const reference: EditLine = {
    label: "before any edit",
    isReference: true,
    status: "ok",
    values: columns.map((column) => measured?.metrics[nameOf(column)]?.base ?? none),
  };
  const lines = rows.map((row): EditLine => {
    const values = columns.map((column) => row.metrics[nameOf(column)] ?? none);
    return { label: row.label, isReference: false, status: row.status, values };
  });
  return { columns, lines: [reference, ...lines] };
}

function isKind(id: string): id is ProbeKindId {
  return (probeKindIds as readonly string[]).includes(id);
}

/** Metrics that stand in the table of protocols, not among the others of a task. */
export function shownInEditTable(rows: readonly ReportRow[]): ReadonlySet<string> {
  const names = probeKindIds.flatMap((kind) => [...protocolIds, "known" as const].map((id) => editMetricName(kind, id)));
  const present = new Set(rows.flatMap((r) => Object.keys(r.metrics)));
  return new Set(names.filter((name) => present.has(name)));
}

/** Every protocol of one method: a line a kind of question. */
export interface ProtocolTable {
  readonly label: string;
  readonly protocols: readonly ProtocolId[];
  readonly lines: readonly {
    readonly kind: ProbeKindId;
    readonly known: Stat | undefined;
    /** By protocol: after the edit, and before it. */
    readonly values: readonly { readonly after: Stat; readonly before: Stat | undefined; readonly unit: string }[];
  }[];
}

/** One for each row that has them. */
export function protocolTables(rows: readonly ReportRow[]): readonly ProtocolTable[] {
  return rows.flatMap((row) => {
    const lines = probeKindIds.flatMap((kind) => {
      const values = protocolIds.flatMap((id) => {
        const metric = row.metrics[editMetricName(kind, id)];
        return metric ? [{ after: metric, before: metric.base, unit: metric.unit }] : [];
      });
      return values.length === 0 ? [] : [{ kind, known: row.metrics[editMetricName(kind, "known")], values }];
    });
    return lines.length === 0 ? [] : [{ label: row.label, protocols: protocolIds, lines }];
  });
}
