/** Exit codes: 0 ok, 1 failure, 2 usage or configuration, 130 stopped on request. */
export const exitCodes = { ok: 0, failure: 1, usage: 2, aborted: 130 } as const;
