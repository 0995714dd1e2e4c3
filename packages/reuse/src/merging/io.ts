/** A file that is read by position; `into` is filled or an error names the file. */
export interface ByteReader {
  read(into: Uint8Array, position: number): void;
}

export interface ByteWriter {
  write(from: Uint8Array, position: number): void;
  /** Waits until the disk has what was written; absent where that cannot be asked for. */
  sync?(): void;
}

/** How a merge reaches its files: Node's file system or handles of a browser. Calls are synchronous, so they belong into a worker. */
export interface MergeIo {
  /** `file` as the plan names it. Opened once, closed with {@link close}. */
  reader(file: string): ByteReader;
  /** `file` is a name beside the merged weights. */
  writer(file: string): ByteWriter;
  close(): void;
}
