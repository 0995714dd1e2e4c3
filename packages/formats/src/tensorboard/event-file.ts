/**
 * Event files as TensorBoard reads them: records of length u64, its masked CRC-32C, an `Event` message (tensorboard/compat/proto/event.proto:
 * wall_time 1, step 2, file_version 3, summary 5) and the CRC of that. Scalars stand in `Summary.value` (tag 1, simple_value 2).
 */

/** A value at a step. */
export interface ScalarEvent {
  /** The curve's name. */
  readonly tag: string;
  readonly step: number;
  /** f32. */
  readonly value: number;
}

/**
 * The bytes of an event file.
 * @param wallTime seconds since 1970, of every event
 */
export function eventFile(events: Iterable<ScalarEvent>, wallTime: number): Uint8Array {
  const time = [...field(1, 1), ...float64(wallTime)];
  const records = [record([...time, ...lengthDelimited(3, [...new TextEncoder().encode("brain.Event:2")])])];
  for (const { tag, step, value } of events) {
    const scalar = [...lengthDelimited(1, [...new TextEncoder().encode(tag)]), ...field(2, 5), ...float32(value)];
    records.push(record([...time, ...field(2, 0), ...varint(step), ...lengthDelimited(5, lengthDelimited(1, scalar))]));
  }
  const bytes = new Uint8Array(records.reduce((n, r) => n + r.length, 0));
  let at = 0;
  for (const r of records) {
    bytes.set(r, at);
    at += r.length;
  }
  return bytes;
}

function record(data: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(12 + data.length + 4);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc(bytes.subarray(0, 8)), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc(bytes.subarray(12, 12 + data.length)), true);
  return bytes;
}

const field = (number: number, wire: number): number[] => varint((number << 3) | wire);

function lengthDelimited(number: number, data: readonly number[]): number[] {
  return [...field(number, 2), ...varint(data.length), ...data];
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}

function float64(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value, true);
  return new Uint8Array(view.buffer);
}

function float32(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value, true);
  return new Uint8Array(view.buffer);
}

/** CRC-32C (Castagnoli), reflected. */
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});

function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  crc = ~crc >>> 0;
  // Rotated and shifted, so that the CRC of data that holds CRCs is none (TFRecord).
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
