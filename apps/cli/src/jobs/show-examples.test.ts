import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-show-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

describe("lfm data show FILE", () => {
  it("shows examples as they will be read", async () => {
    const pairs = file("pairs.tsv", "id\tpremise\thypothesis\tlabel\tscore\n1\ta\tb\tyes\t1.5\n2\tc\td\tno\t2\n3\te\tf\tyes\t4\n");
    expect(await lfmJson("data", "show", pairs, "--rows", "1")).toEqual({
      file: pairs,
      kind: "classification",
      examples: 3,
      columns: ["id", "premise", "hypothesis", "label", "score"],
      read: { text: "premise", text2: "hypothesis", label: "label" },
      labels: { yes: 2, no: 1 },
      first: [{ text: "a", text2: "b", label: "yes" }],
    });
    expect(await lfmJson("data", "show", pairs, "--regression")).toMatchObject({
      kind: "regression",
      values: { least: 1.5, mean: 2.5, most: 4 },
    });
    const { out } = await runLfm("data", "show", pairs, "--columns", "text=hypothesis,label=score");
    expect(out).toContain("read: text = hypothesis, label = score; not read: id, premise, label");
  });

  it("tells files from names of sets", async () => {
    expect(await runLfm("data", "show", join(folder, "none.csv"))).toMatchObject({
      code: 1,
      err: expect.stringContaining("cannot be read"),
    });
    expect(await runLfm("data", "show", "sst")).toMatchObject({ code: 2, err: expect.stringContaining('did you mean "sst2"?') });
    expect((await runLfm("data", "show", "x.csv", "--columns", "a=b")).err).toContain("It must be like text=review,label=stars");
  });
});
