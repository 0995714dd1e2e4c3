import fc from "fast-check";
import { expect, it } from "vitest";
import { digest128 } from "./digest.js";

it("tells bytes apart and knows equal ones, whatever their place in a buffer", () => {
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(7), (bytes, offset) => {
      const within = new Uint8Array(offset + bytes.length + 3);
      within.set(bytes, offset);
      const digest = digest128(bytes);
      expect(digest).toMatch(/^[0-9a-f]{32}$/);
      expect(digest128(within.subarray(offset, offset + bytes.length))).toBe(digest);
      expect(seen.get(digest) ?? bytes.join()).toBe(bytes.join());
      seen.set(digest, bytes.join());
    }),
    { numRuns: 2000 },
  );
});

it("sees every single bit, order and length", () => {
  const base = new Uint8Array(64);
  const digests = new Set([digest128(base), digest128(base.subarray(0, 63)), digest128(base.subarray(0, 60))]);
  for (let bit = 0; bit < 512; bit++) {
    const one = base.slice();
    one[bit >> 3] = 1 << (bit & 7);
    digests.add(digest128(one));
  }
  expect(digests.size).toBe(3 + 512);
  // Every lane alone tells them apart too.
  for (let lane = 0; lane < 4; lane++) expect(new Set([...digests].map((d) => d.slice(8 * lane, 8 * lane + 8))).size).toBe(3 + 512);
});
