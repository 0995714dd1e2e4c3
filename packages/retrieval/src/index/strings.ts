import { type HostTensor, hostTensor, LfmError } from "@lfm/core";
import { readSafetensors, type SafetensorsFile } from "@lfm/formats";

/** Strings as one tensor u8[bytes]: a JSON list in UTF-8. */
export function packStrings(strings: readonly string[]): HostTensor {
  const bytes = new Uint8Array(Buffer.from(JSON.stringify(strings)));
  return hostTensor("u8", [bytes.length], bytes);
}

/** A saved index, with checks that name the file. */
export interface IndexFile {
  /** Options the index was built with. */
  readonly options: Readonly<Record<string, unknown>>;
  strings(name: string): string[];
  /** @param length expected number of values, if known */
  tensor(name: string, dtype: "i32" | "f32" | "u8", length?: number): HostTensor;
  has(name: string): boolean;
  /** The error for content that contradicts itself. */
  broken(reason: string, cause?: unknown): LfmError;
}

/** Opens a safetensors file with the metadata `lfm.index = kind` and `options`. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function openIndex(path: string, kind: string): IndexFile {
  const file: SafetensorsFile = readSafetensors(path);
  const broken = (reason: string, cause?: unknown): LfmError =>
    new LfmError("FILE_FORMAT", `[@lfm/retrieval] ${path}: ${reason}`, {
      details: { file: path },
      ...(cause === undefined ? {} : { cause }),
    });
  const found = file.metadata["lfm.index"];
  if (found !== kind) throw broken(found === undefined ? "not an index of lfm" : `holds an index of kind "${found}", not "${kind}"`);
  const read = (name: string, dtype: string): HostTensor => {
    const tensor = file.tensors[name];
    if (tensor?.dtype !== dtype) throw broken(`tensor "${name}" of ${dtype} is missing`);
    return tensor.read();
  };
  const parse = (what: string, text: string): unknown => {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw broken(`${what} is not JSON`, cause);
    }
  };
  const options = parse("the option block", file.metadata.options ?? "");
  if (typeof options !== "object" || options === null) throw broken("the option block is not an object");
  return {
    options: options as Record<string, unknown>,
    broken,
    has: (name) => file.tensors[name] !== undefined,
    strings: (name) => {
      const list = parse(`"${name}"`, Buffer.from(read(name, "u8").data as Uint8Array).toString("utf8"));
      if (!Array.isArray(list) || !list.every((s) => typeof s === "string")) throw broken(`"${name}" is not a list of strings`);
      return list;
    },
    tensor: (name, dtype, length) => {
      const tensor = read(name, dtype);
      if (length !== undefined && tensor.data.length !== length) {
        throw broken(`"${name}" has ${tensor.data.length} values where ${length} are expected`);
      }
      return tensor;
    },
  };
}
