import { readFileSync } from "node:fs";
import { LfmError } from "@lfm/core";
import protobuf from "protobufjs";

/** The parts of sentencepiece_model.proto that say what a text becomes. */
const descriptor = {
  nested: {
    SentencePiece: {
      fields: {
        piece: { type: "string", id: 1 },
        score: { type: "float", id: 2 },
        type: { type: "int32", id: 3, options: { default: 1 } },
      },
    },
    TrainerSpec: { fields: { unkId: { type: "int32", id: 40 } } },
    NormalizerSpec: { fields: { precompiledCharsmap: { type: "bytes", id: 2 } } },
    ModelProto: {
      fields: {
        pieces: { rule: "repeated", type: "SentencePiece", id: 1 },
        trainerSpec: { type: "TrainerSpec", id: 2 },
        normalizerSpec: { type: "NormalizerSpec", id: 3 },
      },
    },
  },
};

/** Kinds of pieces as the file numbers them. */
const CONTROL = 3;
const USER_DEFINED = 4;

interface Piece {
  readonly piece: string;
  readonly score: number;
  readonly type: number;
}

/** What a SentencePiece model holds. */
export interface SentencePieceModel {
  /** In the order of their ids. */
  readonly pieces: readonly { readonly text: string; readonly score: number }[];
  readonly unkId: number;
  /** Pieces that stand for themselves wherever they occur in a text, the special ones among them. */
  readonly own: readonly { readonly text: string; readonly special: boolean }[];
  /** How characters are rewritten before anything else, in base64; see {@link rewriter}. */
  readonly charsmap: string | undefined;
}

/** @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readSentencePiece(path: string): SentencePieceModel {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot read ${path}`, { cause });
  }
  const { pieces, trainerSpec, normalizerSpec } = decode(path, bytes);
  if (pieces.length === 0) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is no SentencePiece model: it has no pieces`);
  const charsmap = normalizerSpec?.precompiledCharsmap;
  return {
    pieces: pieces.map(({ piece, score }) => ({ text: piece, score })),
    unkId: trainerSpec?.unkId ?? 0,
    own: pieces.flatMap(({ piece, type }) =>
      type === CONTROL || type === USER_DEFINED ? [{ text: piece, special: type === CONTROL }] : [],
    ),
    charsmap: charsmap && charsmap.length > 0 ? Buffer.from(charsmap).toString("base64") : undefined,
  };
}

interface ModelProto {
  readonly pieces: readonly Piece[];
  readonly trainerSpec?: { readonly unkId?: number };
  readonly normalizerSpec?: { readonly precompiledCharsmap?: Uint8Array };
}

function decode(path: string, bytes: Uint8Array): ModelProto {
  const type = protobuf.Root.fromJSON(descriptor).lookupType("ModelProto");
  try {
    return type.toObject(type.decode(bytes), { arrays: true }) as ModelProto;
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is no SentencePiece model`, { cause });
  }
}
