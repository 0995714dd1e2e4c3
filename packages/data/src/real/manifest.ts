/** One file of a set, pinned by the hash of its content. */
export interface DatasetFile {
  /** Path inside the set's folder, with forward slashes. */
  readonly path: string;
  /**
   * sha256 of the content, lower-case hex. Of a `.gz` file it is the hash of what is inside: the same data packed by another gzip
   * stays valid.
   */
  readonly sha256: string;
  /** Length of the content in bytes (after decompression for `.gz`). */
  readonly bytes: number;
  /** Where `pullDataset` takes it from: a public address at a fixed revision; null when no such address is known. */
  readonly url: string | null;
  /** True when the bytes behind `url` were compared with `sha256`; false: the address is from documentation only. */
  readonly verified: boolean;
  /** Set when `url` serves the content unpacked and it is stored as gzip. */
  readonly pack?: "gzip";
  /** The set can be used without it. */
  readonly optional?: true;
}

export type DatasetKind = "text-classification" | "retrieval" | "few-shot-images" | "image-classification" | "language-modelling";

export interface DatasetManifest {
  readonly name: DatasetName;
  readonly kind: DatasetKind;
  readonly title: string;
  /** The project and revision; ends in "(unverified)" when some file's address could not be checked. */
  readonly source: string;
  readonly licence: string;
  readonly citation: string;
  /** How the loader makes its splits. */
  readonly splitRule: string;
  /** Examples of each split (documents, queries, characters and bytes for the other kinds). */
  readonly counts: Readonly<Record<string, number>>;
  readonly files: readonly DatasetFile[];
}

export type DatasetName = "clinc150" | "banking77" | "snips" | "sst2" | "scifact" | "wikitext2" | "tinyshakespeare" | "omniglot" | "mnist";
