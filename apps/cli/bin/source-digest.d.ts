/** sha256 over the names and contents of a package's sources, tests left out. @param folder `src/` of a package */
export function sourceDigest(folder: string): string;
/** Where a build notes it, in `dist/`. */
export const DIGEST_FILE: string;
