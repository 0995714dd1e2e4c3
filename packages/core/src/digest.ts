/**
 * 128 bits that tell byte strings apart: four lanes, each a bijection of its state for every word that is read, so that strings of one length
 * that differ in a single word never agree. No cryptography: for keys of caches. Written here because graphs are also made where there is no
 * `node:crypto`.
 */
export function digest128(bytes: Uint8Array): string {
  let [a, b, c, d] = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
  const read = (w: number): void => {
    a = Math.imul(a ^ w, 0x9e3779b1);
    a ^= a >>> 15;
    b = Math.imul(b ^ w, 0x85ebca77);
    b ^= b >>> 13;
    c = Math.imul(c + w, 0xc2b2ae3d);
    c ^= c >>> 16;
    d = Math.imul(d ^ ((w << 7) | (w >>> 25)), 0x27d4eb2f);
    d ^= d >>> 14;
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole = bytes.byteLength - (bytes.byteLength % 4);
  for (let at = 0; at < whole; at += 4) read(view.getInt32(at, true));
  for (let at = whole; at < bytes.byteLength; at++) read(bytes[at]!);
  read(bytes.byteLength);
  return [a, b, c, d].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
}
