import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readDocuments } from "./documents.js";
import { htmlText } from "./html.js";
import { markdownText } from "./markdown.js";

it("of HTML a reader sees text, a line a block", () => {
  const page = `<!doctype html><html><head><title>Cats &amp; dogs</title><style>p { color: red }</style></head>
    <body><h1>Cats</h1><p>They <b>chase</b>&nbsp;mice,<br>at n&#105;ght.<p>Ünd<!-- hidden --> <script>if (1 < 2) alert("x")</script>more
    <ul><li>one<li>two</ul><template>no</template><table><tr><td>a</td><td>b &lt; c</td></tr></table></body></html>`;
  expect(htmlText(page)).toEqual({ title: "Cats & dogs", text: "Cats\nThey chase mice,\nat night.\nÜnd more\none\ntwo\na\nb < c" });
  expect(htmlText("plain & simple < 3")).toEqual({ text: "plain & simple < 3" });
  expect(htmlText("")).toEqual({ text: "" });
});

it("of HTML neither depth nor what is never closed takes it down", () => {
  const deep = 200_000;
  expect(htmlText(`${"<div><b>".repeat(deep)}x${"</b></div>".repeat(deep)}`)).toEqual({ text: "x" });
  expect(htmlText(`a<script>${"<".repeat(deep)}`).text).toBe("a");
  expect(htmlText(`${"&".repeat(deep)}`).text).toHaveLength(deep);
  expect(htmlText(`a <b ${'c="d" '.repeat(deep)}`).text).toBe("a");
  expect(htmlText("a\u0000b &#0; &#x110000; שלום").text).toContain("שלום");
});

it("of Markdown the title, and no targets of links", () => {
  const text = '---\ntitle: "The name"\ntags: [a]\n---\n# Head\nSee [the paper](https://x.org/a "t") and ![a picture](p.png), [both][1].\n';
  expect(markdownText(text)).toEqual({ title: "The name", text: "# Head\nSee the paper and a picture, both." });
  expect(markdownText("Intro\n\n# Cats #\n\n- mice\n")).toEqual({ title: "Cats", text: "Intro\n\n\n\n- mice" });
  const spaces = " ".repeat(200_000);
  expect(markdownText(`---\ntitle: a${spaces}b\n---\n# ${spaces}x${spaces}y`).title).toHaveLength(200_002);
  expect(markdownText(`# a${spaces}#${spaces}`)).toEqual({ title: "a", text: "" });
  expect(markdownText("no heading [x] (y)")).toEqual({ text: "no heading [x] (y)" });
});

it("pages are documents, alone and in a folder, and bytes that are no text are refused by name", () => {
  const folder = mkdtempSync(join(tmpdir(), "lfm-pages-"));
  writeFileSync(join(folder, "a.html"), "<title>A</title><p>one");
  writeFileSync(join(folder, "b.md"), "# B\ntwo");
  writeFileSync(join(folder, "c.txt"), "three");
  expect(readDocuments(folder)).toEqual([
    { id: "a.html", title: "A", text: "one" },
    { id: "b.md", title: "B", text: "two" },
    { id: "c.txt", text: "three" },
  ]);
  expect(readDocuments(join(folder, "a.html"))).toEqual([{ id: "a.html", title: "A", text: "one" }]);
  writeFileSync(join(folder, "d.html"), Buffer.from([0x3c, 0x70, 0x3e, 0xff, 0xfe, 0xc3]));
  expect(() => readDocuments(folder)).toThrow(
    expect.objectContaining({ code: "FILE_FORMAT", message: expect.stringContaining("d.html:1") }),
  );
  rmSync(folder, { recursive: true });
});
