import { type Delta, f32, type HostTensor, makeDelta, parseConfig } from "@lfm/core";
import { lowRankChanges } from "@lfm/editing";
import { lora } from "@lfm/tuning";

/** An edit that changes layers by a low rank, as the LoRA that changes them alike: A has its keys, B its values, α is the rank. Undefined for others. */
export function editAsLora(delta: Delta): Delta | undefined {
  const changes = lowRankChanges(delta);
  if (!changes) return undefined;
  const ranks = Object.fromEntries(changes.map(({ path, keys }) => [path, keys.shape[0]!]));
  const r = Math.max(...Object.values(ranks));
  const pattern = Object.fromEntries(Object.entries(ranks).filter(([, rank]) => rank !== r));
  const config = { r, loraAlpha: r, targetModules: Object.keys(ranks), rankPattern: pattern, alphaPattern: pattern };
  const tensors = Object.fromEntries(
    changes.flatMap(({ path, keys, values }) => [
      [`${path}.lora_A.weight`, keys] as const,
      [`${path}.lora_B.weight`, transposed(values)] as const,
    ]),
  );
  return makeDelta(lora, parseConfig(lora, config), tensors, { parent: delta.parent });
}

function transposed({ shape, data }: HostTensor): HostTensor {
  const [rows, columns] = [shape[0]!, shape[1]!];
  const out = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = Number(data[i * columns + j]);
  return f32(out, [columns, rows]);
}
