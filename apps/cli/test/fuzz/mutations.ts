import type { Rng } from "@lfm/core";

/** A file that was changed, and what was done to it. */
export interface Mutation {
  readonly what: string;
  readonly bytes: Buffer;
}

/** Values that no reader expects, as JSON. */
const ODD = [
  ...[
    "0",
    "-0",
    "-1",
    "1.5",
    "1e9",
    "1e15",
    "1e400",
    "-1e400",
    "1e-400",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "18446744073709551616",
  ],
  ...[
    "null",
    "true",
    '""',
    '"x"',
    '"1"',
    '"NaN"',
    "NaN",
    "Infinity",
    "[]",
    "{}",
    "[null]",
    "[1,[2,[3]]]",
    "[4294967296,4294967296]",
    "[-1,-1]",
  ],
  ...['"__proto__"', '"constructor"', '"../../../etc/passwd"', '"/etc/passwd"', '"a\\u0000b"', '"\\ud800"', '"(((a+)+)+)+$"', '"(?<=a"'],
  ...['{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '{"toString":null}', '{"length":-1}'],
];
const KEYS = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf", "", "length", "then", "../x"];

/** Changes bytes without knowing what they are. */
export function mutateBytes(rng: Rng, bytes: Buffer): Mutation {
  const copy = Buffer.from(bytes);
  const at = rng.int(Math.max(1, copy.length));
  const some = 1 + rng.int(64);
  // What comes first is read first: half of the changes are there.
  const early = rng.int(Math.max(1, Math.min(copy.length, rng.pick([200, 2000, copy.length]))));
  const changes: Readonly<Record<string, () => Buffer>> = {
    flip: () => {
      for (let i = rng.int(8); i >= 0 && copy.length > 0; i--) copy[rng.int(Math.min(copy.length, early + 1))]! ^= 1 << rng.int(8);
      return copy;
    },
    byte: () => (copy.length > 0 ? copy.fill(rng.int(256), early, early + 1) : copy),
    zero: () => copy.fill(0, at, Math.min(copy.length, at + some)),
    cut: () => Buffer.concat([copy.subarray(0, at), copy.subarray(at + some)]),
    end: () => copy.subarray(0, at),
    again: () => Buffer.concat([copy.subarray(0, at + some), copy.subarray(at)]),
    more: () => Buffer.concat([copy, Buffer.alloc(some, rng.int(256))]),
    mark: () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), copy]),
    latin: () => Buffer.concat([copy.subarray(0, at), Buffer.from([0xe9, 0xff]), copy.subarray(at)]),
    nothing: () => Buffer.alloc(0),
  };
  const what = rng.pick(Object.keys(changes));
  return { what, bytes: changes[what]!() };
}

/** Changes what a JSON text says: values, keys, depth, size; sometimes its bytes. */
export function mutateJson(rng: Rng, text: string): Mutation {
  const value = JSON.parse(text) as unknown;
  const places: [Record<string, unknown>, string][] = [];
  const visit = (at: unknown): void => {
    if (typeof at !== "object" || at === null) return;
    for (const key of Object.keys(at)) {
      places.push([at as Record<string, unknown>, key]);
      if (places.length < 3000) visit((at as Record<string, unknown>)[key]);
    }
  };
  visit(value);
  if (places.length === 0) return mutateBytes(rng, Buffer.from(text));
  const [holder, key] = rng.pick(places);
  const mark = "\u0001here\u0001";
  const with_ = (raw: string): string => {
    holder[key] = mark;
    return JSON.stringify(value).replace(JSON.stringify(mark), () => raw);
  };
  const changes: Readonly<Record<string, () => string>> = {
    value: () => with_(rng.pick(ODD)),
    other: () => with_(rng.pick(ODD)),
    swap: () => {
      const [other, name] = rng.pick(places);
      [holder[key], other[name]] = [other[name], holder[key]];
      return safely(value, text);
    },
    missing: () => {
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete holder[key];
      return JSON.stringify(value);
    },
    twice: () => `${JSON.stringify(value).slice(0, -1)},${JSON.stringify(Object.keys(value as object)[0] ?? "x")}:${rng.pick(ODD)}}`,
    key: () => {
      if (Array.isArray(holder)) return with_("[]");
      const name = rng.pick(KEYS);
      holder[mark] = 1;
      return JSON.stringify(value).replace(`${JSON.stringify(mark)}:1`, () => `${JSON.stringify(name)}:${rng.pick(ODD)}`);
    },
    rename: () => {
      if (Array.isArray(holder)) return with_("{}");
      const was = holder[key];
      delete holder[key];
      holder[rng.pick([`${key} `, key.toUpperCase(), `${key}.x`, `base_model.model.${key}`, key.slice(1)])] = was;
      return JSON.stringify(value);
    },
    deep: () => {
      const n = rng.pick([100, 5000, 50_000]);
      return with_(rng.int(2) === 0 ? "[".repeat(n) + "]".repeat(n) : `${'{"a":'.repeat(n)}1${"}".repeat(n)}`);
    },
    long: () => with_(rng.int(2) === 0 ? `[${"0,".repeat(100_000)}0]` : JSON.stringify("a!".repeat(rng.pick([1000, 100_000])))),
    number: () =>
      typeof holder[key] === "number" ? with_(String((holder[key] as number) * rng.pick([-1, 0.5, 2, 1e6, 1e12]))) : with_("7"),
  };
  if (rng.int(5) === 0) {
    const bytes = mutateBytes(rng, Buffer.from(text));
    return { what: `bytes ${bytes.what}`, bytes: bytes.bytes };
  }
  const what = rng.pick(Object.keys(changes));
  return { what: `${what} ${key.slice(0, 40)}`, bytes: Buffer.from(changes[what]!()) };
}

/** A value may have come to lie inside itself. */
function safely(value: unknown, otherwise: string): string {
  try {
    return JSON.stringify(value);
  } catch {
    return otherwise;
  }
}

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** Changes a safetensors file: the length in front, what the header says of tensors, names, metadata, or any bytes. */
export function mutateSafetensors(rng: Rng, bytes: Buffer): Mutation {
  const length = Number(bytes.readBigUInt64LE(0));
  const header = bytes.subarray(8, 8 + length).toString();
  const data = bytes.subarray(8 + length);
  const file = (text: string, claimed?: bigint): Buffer => {
    const head = Buffer.from(text);
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(claimed ?? BigInt(head.length));
    return Buffer.concat([size, head, data]);
  };
  const tensors = JSON.parse(header) as Record<string, Entry>;
  const names = Object.keys(tensors).filter((name) => name !== "__metadata__");
  const [name, other] = [rng.pick(names), rng.pick(names)];
  const entry = tensors[name]!;
  const [begin, end] = entry.data_offsets;
  const changed = (change: () => void): Buffer => {
    change();
    return file(JSON.stringify(tensors));
  };
  const raw = (key: string, value: string): Buffer => file(`${header.trimEnd().slice(0, -1)},${JSON.stringify(key)}:${value}}`);
  const empty = `{"dtype":"F32","shape":[0],"data_offsets":[${data.length},${data.length}]}`;
  const changes: Readonly<Record<string, () => Buffer>> = {
    length: () =>
      file(
        header,
        rng.pick([
          0n,
          1n,
          2n ** 63n,
          2n ** 64n - 1n,
          2n ** 32n,
          100_000_001n,
          BigInt(bytes.length),
          BigInt(length - 1),
          BigInt(length + 1),
        ]),
      ),
    swapped: () => changed(() => ([entry.data_offsets, tensors[other]!.data_offsets] = [tensors[other]!.data_offsets, entry.data_offsets])),
    overlap: () => changed(() => (entry.data_offsets = [Math.max(0, begin - 4), Math.max(0, end - 4)])),
    outside: () =>
      changed(
        () =>
          (entry.data_offsets = rng.pick([
            [-8, end],
            [begin, 2 ** 53 + 2],
            [end, begin],
            [begin + 0.5, end + 0.5],
          ]) as [number, number]),
      ),
    shape: () =>
      changed(
        () =>
          (entry.shape = rng.pick([
            [2 ** 32, 2 ** 32],
            [0, 2 ** 53 - 1],
            [...entry.shape].reverse(),
            [...entry.shape, ...Array<number>(3000).fill(1)],
            [-1],
            [],
          ])),
      ),
    dtype: () =>
      changed(
        () =>
          (entry.dtype = rng.pick([
            "F64",
            "F16",
            "BF16",
            "I32",
            "U8",
            "BOOL",
            "f32",
            "F8_E4M3",
            "F8_E8M0",
            "F4",
            "C64",
            "",
            "F32 ",
            "__proto__",
          ])),
      ),
    name: () => raw(rng.pick(["../../x", "a\0b", "", "__proto__", "toString", "constructor", "x".repeat(70_000), name]), empty),
    metadata: () =>
      file(
        header.replace(
          /"__metadata__":\{[^}]*\}/,
          () => `"__metadata__":${rng.pick(["null", "[]", '"x"', '{"a":1}', '{"__proto__":"x"}', "{}"])}`,
        ),
      ),
  };
  const kind = rng.int(10);
  if (kind < 3) return mutateBytes(rng, bytes);
  if (kind < 6) {
    const { what, bytes: text } = mutateJson(rng, header);
    return { what: `header ${what}`, bytes: file(text.toString("latin1") === text.toString() ? text.toString() : text.toString("utf8")) };
  }
  const what = rng.pick(Object.keys(changes));
  return { what, bytes: changes[what]!() };
}

/** The same for what the values of a file's metadata say, where one of them is JSON. */
export function mutateMetadata(rng: Rng, bytes: Buffer, values: readonly string[]): Mutation {
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as { __metadata__: Record<string, string> };
  const metadata = header.__metadata__;
  const key = rng.pick(Object.keys(metadata));
  let what = `metadata ${key}`;
  if (/^[{[]/.test(metadata[key]!) && rng.int(4) > 0) {
    const inner = mutateJson(rng, metadata[key]!);
    metadata[key] = inner.bytes.toString();
    what += ` ${inner.what}`;
  } else metadata[key] = rng.pick(values);
  const head = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(head.length));
  return { what, bytes: Buffer.concat([size, head, bytes.subarray(8 + length)]) };
}

/** Pieces that files of lines are made of, in the wrong place. */
const PIECES = [
  ...'&a |*a|<<: *a|!!binary x|!!python/object:os.system |? |---\n|...\n|[|]|{|}|: |- |\t|\r\n|\u2028|\0|\'|"|""|,|,,|\\|#|>|~|0|1e400|.nan|.inf|yes|0x1F|1_000'.split(
    "|",
  ),
  ..."__proto__: 1|constructor: 1|name: ../x|model: ../x|model: /etc|layer_range: [0, 1e9]|layer_range: [5, 2]|weight: [0, 1, .nan]|density: -1".split(
    "|",
  ),
  ..."normalize: [true, false]|merge_method: toString|tokenizer_source: union|dtype: float8|parameters: {t: {value: {}}}|random_seed: 1".split(
    "|",
  ),
];

/** Changes a text of lines: pieces put in, lines left out, doubled and moved, numbers made odd; sometimes its bytes. */
export function mutateText(rng: Rng, text: string): Mutation {
  const lines = text.split("\n");
  const line = rng.int(lines.length);
  const at = rng.int(text.length + 1);
  const changes: Readonly<Record<string, () => string>> = {
    piece: () => text.slice(0, at) + rng.pick(PIECES) + text.slice(at),
    instead: () => lines.with(line, /^\s*/.exec(lines[line]!)![0] + rng.pick(PIECES)).join("\n"),
    between: () => lines.toSpliced(line, 0, /^\s*/.exec(lines[line]!)![0] + rng.pick(PIECES)).join("\n"),
    without: () => lines.toSpliced(line, 1).join("\n"),
    twice: () => lines.toSpliced(line, 0, lines[line]!).join("\n"),
    moved: () => lines.toSpliced(line, 1).toSpliced(rng.int(lines.length), 0, lines[line]!).join("\n"),
    indent: () => lines.with(line, ` ${lines[line]}`).join("\n"),
    number: () =>
      text.replace(/\d+(\.\d+)?/g, (n) =>
        rng.int(4) === 0 ? rng.pick(["-1", "1e400", "1e15", ".nan", "'x'", "[]", "0", "99999999999999999999"]) : n,
      ),
    many: () => lines.toSpliced(line, 0, ...Array.from({ length: rng.pick([1000, 20_000]) }, (_, i) => `k${i}: 0`)).join("\n"),
    long: () => lines.with(line, lines[line]! + "a!".repeat(100_000)).join("\n"),
  };
  if (rng.int(4) === 0) return mutateBytes(rng, Buffer.from(text));
  const what = rng.pick(Object.keys(changes));
  return { what, bytes: Buffer.from(changes[what]!()) };
}
