/** Reads every adapter of a folder and writes it into another: `tsx --conditions=@lfm/source tools/golden/rewrite-peft.ts FROM TO`. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { readPeftAdapter, writePeftAdapter } from "@lfm/formats";

const [from, to] = process.argv.slice(2);
if (!from || !to) throw new Error("usage: rewrite-peft.ts FROM TO");
for (const entry of readdirSync(from, { withFileTypes: true })) {
  if (!entry.isDirectory()) continue;
  const { config, tensors } = readPeftAdapter(join(from, entry.name));
  // Without the targets of a LoRA, ours are the full paths of its modules.
  const { target_modules: _, ...rest } = config as Readonly<Record<string, unknown>>;
  const withoutTargets = { ...rest, peft_type: "LORA" as const };
  await writePeftAdapter(join(to, entry.name), { config: config.peft_type === "LORA" ? withoutTargets : config, tensors });
}
