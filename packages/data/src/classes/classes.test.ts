import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { encode } from "fast-png";
import { expect, it } from "vitest";
import { readEpisodeList } from "./episode-list.js";
import { decodePicture, resizePicture } from "./pictures.js";
import { readClasses, requireDisjoint } from "./read-classes.js";

const fresh = (): string => mkdtempSync(join(tmpdir(), "lfm-classes-"));
const grey = (...data: number[]): Uint8Array =>
  encode({ width: 2, height: data.length / 2, channels: 1, depth: 8, data: Uint8Array.from(data) });

it("pictures: any side becomes a square of means; colours stay apart", () => {
  const picture = decodePicture("a.png", grey(0, 255, 255, 255, 0, 0, 0, 0));
  expect(picture).toMatchObject({ channels: 1, height: 4, width: 2 });
  expect(Array.from(resizePicture(picture, 2))).toEqual([0.5, 1, 0, 0]);
  expect(Array.from(resizePicture(picture, 1))).toEqual([0.375]);
  const rgb = decodePicture("b.png", encode({ width: 1, height: 1, channels: 4, depth: 8, data: Uint8Array.of(255, 0, 51, 7) }));
  expect(rgb.channels).toBe(3);
  Array.from(rgb.data).forEach((v, i) => {
    expect(v).toBeCloseTo([1, 0, 0.2][i]!, 6);
  });
});

it("a folder of class folders, and tables of texts and of numbers", () => {
  const folder = fresh();
  for (const [name, value] of [
    ["light", 255],
    ["dark", 0],
  ] as const) {
    mkdirSync(join(folder, name));
    for (const i of [1, 2]) writeFileSync(join(folder, name, `${i}.png`), grey(value, value));
  }
  const set = readClasses(folder, { size: 1 });
  expect(set).toMatchObject({ kind: "pictures", shape: [1, 1, 1] });
  expect(set.classes.map((c) => [c.name, c.items.map((x) => Number(x[0]))])).toEqual([
    ["dark", [0, 0]],
    ["light", [1, 1]],
  ]);
  const texts = join(folder, "texts.csv");
  writeFileSync(texts, "text,label\nhello,a\nbye,b\nhi,a\n");
  expect(readClasses(texts)).toEqual({
    kind: "texts",
    classes: [
      { name: "a", items: ["hello", "hi"] },
      { name: "b", items: ["bye"] },
    ],
  });
  const features = join(folder, "features.csv");
  writeFileSync(features, "x,y,label\n1,2,a\n3,4,b\n");
  expect(readClasses(features)).toMatchObject({ kind: "features", shape: [2] });
});

it("faults are typed: one class, an empty one, two kinds, a class on both sides", () => {
  const code = (work: () => unknown): string | undefined => {
    try {
      work();
    } catch (e) {
      return isLfmError(e) ? e.code : String(e);
    }
    return undefined;
  };
  const folder = fresh();
  mkdirSync(join(folder, "a"));
  expect(code(() => readClasses(folder))).toBe("FILE_FORMAT");
  writeFileSync(join(folder, "a", "1.png"), grey(0, 0));
  expect(code(() => readClasses(folder))).toBe("CONFIG_INVALID");
  mkdirSync(join(folder, "b"));
  writeFileSync(join(folder, "b", "1.txt"), "text");
  expect(code(() => readClasses(folder))).toBe("FILE_FORMAT");
  expect(code(() => readClasses(join(folder, "none")))).toBe("FILE_IO");
  const one = { name: "a", items: [] };
  expect(code(() => requireDisjoint({ train: [one], unseen: [one] }))).toBe("CONFIG_INVALID");
  expect(code(() => requireDisjoint({ train: [one], unseen: [{ name: "b", items: [] }] }))).toBeUndefined();
});

it("lists of episodes: a line an episode, and the run files of Omniglot's authors", () => {
  const folder = fresh();
  const list = join(folder, "list.jsonl");
  writeFileSync(list, `${JSON.stringify({ support: [["a/1.png", "a"]], query: [["b/1.png", "b"]] })}\n`);
  expect(readEpisodeList(list)[0]).toMatchObject({ support: [[join(folder, "a/1.png"), "a"]], query: [[join(folder, "b/1.png"), "b"]] });
  mkdirSync(join(folder, "run01"));
  writeFileSync(
    join(folder, "run01", "class_labels.txt"),
    "run01/test/item01.png run01/training/class02.png\nrun01/test/item02.png run01/training/class01.png\n",
  );
  const [run] = readEpisodeList(folder);
  expect(run!.support).toEqual([
    [join(folder, "run01/training/class01.png"), "run01/training/class01.png"],
    [join(folder, "run01/training/class02.png"), "run01/training/class02.png"],
  ]);
  expect(run!.query[0]).toEqual([join(folder, "run01/test/item01.png"), "run01/training/class02.png"]);
  writeFileSync(list, `{"support": []}\n`);
  expect(() => readEpisodeList(list)).toThrow(/"support" is no list/);
});
