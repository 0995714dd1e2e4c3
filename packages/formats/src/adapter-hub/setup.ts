import { existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { readJsonObject } from "../json-file.js";
import { formatJson } from "../json-text.js";
import { nameFlaw } from "../names.js";
import { writeTextFile } from "../whole-file.js";
import { ADAPTERS_VERSION } from "./config.js";

const SETUP = "adapter_setup.json";

const single = z.object({ type: z.literal("single"), children: z.tuple([z.string()]) });
const setup = z.looseObject({ adapter_setup: z.object({ type: z.literal("Fuse"), children: z.array(single).min(2) }) });

/** Whether a folder holds a whole setup: several adapters, and what joins them, in folders by their names. */
export function isHubSetup(folder: string): boolean {
  return existsSync(join(folder, SETUP));
}

/**
 * Names of the fused adapters of a setup, in order. Each lies in a folder of its name, the fusion in one of all names with commas between.
 * @throws {LfmError} FILE_IO, FILE_FORMAT; OP_UNSUPPORTED for adapters that are joined otherwise than by a fusion
 */
export function readHubSetup(folder: string): readonly string[] {
  const path = join(folder, SETUP);
  const found = setup.safeParse(readJsonObject(path));
  if (!found.success)
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] ${path} is no fusion of adapters: ${z.prettifyError(found.error)}`, {
      hint: "setups of one Fuse(…) over single adapters are read",
    });
  const names = found.data.adapter_setup.children.map((child) => child.children[0]);
  const strange = names.find((name) => nameFlaw(name) !== undefined || name.includes(","));
  if (strange !== undefined) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: ${JSON.stringify(strange)} is no name of a folder`);
  return names;
}

/** The file that says what is fused. @throws {LfmError} FILE_IO */
export function writeHubSetup(folder: string, names: readonly string[], withHead: boolean): void {
  const children = names.map((name) => ({ type: "single", children: [name] }));
  const value = { adapter_setup: { type: "Fuse", children }, head_setup: withHead ? true : null, version: ADAPTERS_VERSION };
  writeTextFile(join(folder, SETUP), formatJson(value, { indent: 2 }));
}
