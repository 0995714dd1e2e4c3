import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readCranfield } from "./smart.js";

const data = process.env.LFM_DATA ?? "";

describe.skipIf(data === "")("Cranfield (skipped without LFM_DATA)", () => {
  it("has the known counts", () => {
    const { documents, queries, qrels, qrelsWithUncoded } = readCranfield(join(data, "cranfield"));
    const grades = Object.values(qrels).flatMap((q) => Object.values(q));
    expect([documents.length, queries.length]).toEqual([1400, 225]);
    expect(queries.at(-1)!.id).toBe("225");
    expect([4, 3, 2, 1].map((g) => grades.filter((grade) => grade === g).length)).toEqual([128, 387, 734, 363]);
    expect(Object.values(qrelsWithUncoded).reduce((n, q) => n + Object.keys(q).length, 0)).toBe(grades.length + 225);
    expect(documents.filter((d) => d.text === "").map((d) => d.id)).toEqual(["471", "995"]);
  });
});
