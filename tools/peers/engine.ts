import { type Engine, ortEngine } from "@lfm/core";

/** The engine of our side: LFM_THREADS threads, 0 for its own choice; with LFM_PROFILE it writes a profile with this prefix when it is disposed of. */
export function peerEngine(threads = Number(process.env.LFM_THREADS ?? 2)): Promise<Engine> {
  const profile = process.env.LFM_PROFILE;
  return ortEngine({ ...(threads > 0 ? { threads } : {}), ...(profile ? { profile } : {}) });
}
