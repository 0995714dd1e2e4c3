import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatJson, parseJson, wholeFloats } from "./json-text.js";

describe("JSON as Python writes it", () => {
  it("has numbers that are not finite, outside of texts only", () => {
    expect(parseJson('{"a": Infinity, "b": [-Infinity, NaN, 1], "c": "NaN, Infinity and \\"-Infinity\\""}')).toEqual({
      a: Number.POSITIVE_INFINITY,
      b: [Number.NEGATIVE_INFINITY, Number.NaN, 1],
      c: 'NaN, Infinity and "-Infinity"',
    });
    expect(parseJson("NaN")).toBeNaN();
    expect(parseJson('{"number-0-": "number-0-", "x": NaN, "y": "number-1-"}')).toEqual({
      "number-0-": "number-0-",
      x: Number.NaN,
      y: "number-1-",
    });
  });

  it("may begin with a byte order mark", () => {
    expect(parseJson('\ufeff{"a": 1}')).toEqual({ a: 1 });
    expect(parseJson('\ufeff{"a": Infinity}')).toEqual({ a: Number.POSITIVE_INFINITY });
  });

  it.each(["", "{", "nan", "-NaN", "Infinity5", "NaN1", "+Infinity", "Inf", "[NaN,]", "{NaN: 1}", '"Infinity', "\ufeff\ufeff1", "[1] NaN"])(
    "%s is none",
    (text) => {
      expect(() => parseJson(text)).toThrow(SyntaxError);
    },
  );

  it("keeps a key called __proto__, with numbers that are not finite too", () => {
    expect(Object.entries(parseJson('{"__proto__": {"a": NaN}}') as object)).toEqual([["__proto__", { a: Number.NaN }]]);
  });

  it("is read in time that grows with its length", () => {
    const started = performance.now();
    expect(() => parseJson(`"${'\\"'.repeat(300_000)}`)).toThrow(SyntaxError);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it("is written and read back", () => {
    const value = fc.letrec<{ any: unknown }>((tie) => ({
      any: fc.oneof(
        { maxDepth: 3 },
        fc.double(),
        fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null, true),
        fc.string(),
        fc.constantFrom("NaN", "number-0-NaN", "number-0-", "-Infinity"),
        fc.array(tie("any"), { maxLength: 4 }),
        fc.dictionary(fc.string(), tie("any"), { maxKeys: 4, noNullPrototype: true }),
      ),
    })).any;
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 2), (v, indent) => {
        expect(parseJson(formatJson(v, indent === undefined ? {} : { indent }))).toEqual(negativeZeros(v));
      }),
    );
    expect(formatJson({ a: [Number.NaN, "NaN", Number.NEGATIVE_INFINITY] })).toBe('{"a":[NaN,"NaN",-Infinity]}');
    expect(formatJson({ a: 1 }, { indent: 2 })).toBe(JSON.stringify({ a: 1 }, null, 2));
  });
});

/** JSON.stringify writes -0 as 0. */
function negativeZeros(v: unknown): unknown {
  if (Object.is(v, -0)) return 0;
  if (Array.isArray(v)) return v.map(negativeZeros);
  if (typeof v === "object" && v !== null) return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, negativeZeros(x)]));
  return v;
}

describe("whole floats", () => {
  it("are kept apart from whole numbers", () => {
    const text = '{"a": 1.0, "b": 1, "c": [0.0, Infinity], "d": {"e": -2.50, "f": 1e3, "g": "1.0"}, "h": 0.5, "i": 10000.0}';
    expect(wholeFloats(text)).toEqual(new Set(["a", "c", "f", "i"]));
    const again = formatJson(parseJson(text), { floats: wholeFloats(text) });
    expect(again).toBe('{"a":1.0,"b":1,"c":[0.0,Infinity],"d":{"e":-2.5,"f":1000.0,"g":"1.0"},"h":0.5,"i":10000.0}');
    expect(parseJson(again)).toEqual(parseJson(text));
  });
});
