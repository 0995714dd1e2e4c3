/** Reads an adapter and writes it again for the library `adapters`: `tsx --conditions=@lfm/source tools/golden/rewrite-adapters.ts MODEL FROM TO NAME`. */
import { loadModel } from "@lfm/models";
import { fromAdapterFolder, toHubFolder } from "@lfm/tuning";

const [base, from, to, name] = process.argv.slice(2);
if (!base || !from || !to || !name) throw new Error("usage: rewrite-adapters.ts MODEL FROM TO NAME");
const { model } = await loadModel(base);
await toHubFolder(to, fromAdapterFolder(from, model), model, { name, base });
