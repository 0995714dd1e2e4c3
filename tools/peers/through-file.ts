import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Model } from "@lfm/core";
import { loadModel, saveModel } from "@lfm/models";

/** The model as a user has it: loaded from a folder, so that frozen weights are read from their file by the engine. */
export async function throughFile(model: Model): Promise<Model> {
  const folder = mkdtempSync(join(tmpdir(), "lfm-peer-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  await saveModel(folder, model);
  return (await loadModel(folder)).model;
}
