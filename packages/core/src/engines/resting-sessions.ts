import { createHash } from "node:crypto";
import type { InferenceSession } from "onnxruntime-node";

/** Graphs with their weights beyond this are not kept, bytes. */
const LARGEST_MODEL = 256 * 1024;
/** A session that was fed more than this in a run has an arena that nobody wants to keep, bytes. */
const LARGEST_FEED = 1024 * 1024;
const MOST = 32;

/**
 * Sessions of small graphs that nobody uses at the moment. ONNX Runtime takes some 80 µs a node to open a session, which for a small model is more
 * than what it is opened for; who trains, measures and trains again opens the same few graphs over and over. Those released last are kept.
 */
export class RestingSessions {
  private readonly resting = new Map<string, InferenceSession>();
  private closed = false;

  /** What a session is kept under; nothing for one that is not kept. @param options all that it depends on beside the graph */
  keyOf(model: Uint8Array, options: object): string | undefined {
    if (model.byteLength > LARGEST_MODEL) return undefined;
    return createHash("sha256").update(model).update(JSON.stringify(options)).digest("base64");
  }

  take(key: string | undefined): InferenceSession | undefined {
    if (key === undefined) return undefined;
    const session = this.resting.get(key);
    this.resting.delete(key);
    return session;
  }

  /** Ends a session, or keeps it. @param fed most bytes that it was fed in one run */
  async release(session: InferenceSession, key: string | undefined, fed: number): Promise<void> {
    if (this.closed || key === undefined || fed > LARGEST_FEED || this.resting.has(key)) return session.release();
    this.resting.set(key, session);
    if (this.resting.size <= MOST) return;
    const [oldest, other] = [...this.resting][0]!;
    this.resting.delete(oldest);
    await other.release();
  }

  async dispose(): Promise<void> {
    this.closed = true;
    const sessions = [...this.resting.values()];
    this.resting.clear();
    await Promise.all(sessions.map((session) => session.release()));
  }
}
