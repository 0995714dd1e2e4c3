import { f32, type HostTensor } from "@lfm/core";

/** Parameters written down as little-endian bytes with their shapes, and read again. */
export function throughBytes(params: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  const written = JSON.stringify(
    Object.entries(params).map(([name, t]) => ({
      name,
      shape: t.shape,
      bytes: Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString("base64"),
    })),
  );
  const read = JSON.parse(written) as { name: string; shape: number[]; bytes: string }[];
  return Object.fromEntries(
    read.map(({ name, shape, bytes }) => [name, f32(new Float32Array(Uint8Array.from(Buffer.from(bytes, "base64")).buffer), shape)]),
  );
}
