import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import { LfmError } from "@lfm/core";
import { ApiError } from "./api-error.js";

/** Whether only programs on this machine reach an address. */
function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, "").toLowerCase();
  return name === "localhost" || name === "::1" || (isIP(name) === 4 && name.startsWith("127."));
}

/** @throws {LfmError} CONFIG_INVALID for an address that others reach and no key */
export function requireKey(host: string, apiKey: string | undefined): void {
  if (apiKey === "") throw new LfmError("CONFIG_INVALID", "lfm: the API key is empty");
  if (apiKey !== undefined || isLoopback(host)) return;
  throw new LfmError("CONFIG_INVALID", `lfm: others than this machine reach ${host}: whoever asks there needs a key`, {
    hint: `LFM_API_KEY=$(openssl rand -hex 24) lfm serve --host ${host} …`,
  });
}

/**
 * Lets in who has the key. Where there is none, only pages and programs that ask for this machine by its own name: a page of another site whose name
 * was made to point here says that name.
 * @param host header of the request, with or without a port
 * @throws {ApiError} 401, 403
 */
export function checkAccess(host: string, authorization: string | undefined, apiKey: string | undefined): void {
  if (apiKey === undefined) {
    const name = host.replace(/:\d+$/, "");
    if (isLoopback(name)) return;
    throw new ApiError(403, "invalid_request_error", `this server answers to localhost, not to "${name}"`, { code: "forbidden" });
  }
  const [, given = ""] = /^Bearer (.+)$/i.exec(authorization ?? "") ?? [];
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  if (timingSafeEqual(digest(given), digest(apiKey))) return;
  throw new ApiError(
    401,
    "invalid_request_error",
    given === "" ? "no API key was given: Authorization: Bearer KEY" : "the API key is wrong",
    {
      code: "invalid_api_key",
      headers: { "www-authenticate": "Bearer" },
    },
  );
}
