import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename } from "node:path";

/** A package as `npm pack` made it. */
export interface Packed {
  readonly name: string;
  /** Path of the tarball. */
  readonly file: string;
  readonly manifest: Readonly<Record<string, unknown>> & { readonly version: string };
}

/**
 * A registry of these packages alone, for their scope: npm and pnpm then install them as they will from the real one.
 * @returns its address and how it is closed
 */
export async function serveRegistry(packed: readonly Packed[]): Promise<{ readonly url: string; close(): void }> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? "").slice(1);
    const tarball = packed.find((p) => path === `-/${basename(p.file)}`);
    const found = packed.find((p) => p.name === path);
    if (tarball) response.end(readFileSync(tarball.file));
    else if (found) {
      const { version } = found.manifest;
      const integrity = `sha512-${createHash("sha512").update(readFileSync(found.file)).digest("base64")}`;
      const dist = { tarball: `${addressOf(server.address())}/-/${basename(found.file)}`, integrity };
      const document = { name: found.name, "dist-tags": { latest: version }, versions: { [version]: { ...found.manifest, dist } } };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(document));
    } else {
      response.statusCode = 404;
      response.end("{}");
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: addressOf(server.address()), close: () => server.close() };
}

function addressOf(address: ReturnType<ReturnType<typeof createServer>["address"]>): string {
  if (typeof address !== "object" || address === null) throw new Error("the registry does not listen");
  return `http://127.0.0.1:${address.port}`;
}
