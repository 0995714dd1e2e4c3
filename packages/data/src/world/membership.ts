import { LfmError, Rng as Random } from "@lfm/core";
import { COMPACT } from "./relations.js";
import { type Prompt, promptFor, statement } from "./statements.js";
import type { World } from "./world.js";

/** A sentence that a model may or may not have been trained on, with the question it answers. */
export interface MembershipRecord extends Prompt {
  /** The whole sentence: `prompt answer .` */
  readonly text: string;
}

export interface MembershipSplit {
  /** Everything, in random order: members and non-members come from the same distribution. */
  readonly population: readonly MembershipRecord[];
  /** Train the target on these. */
  readonly members: readonly MembershipRecord[];
  readonly nonMembers: readonly MembershipRecord[];
  /** Shared by nobody's training: for thresholds and as reference population (RMIA). */
  readonly reference: readonly MembershipRecord[];
  /**
   * Which of the population shadow model `k` is trained on: a fresh random half; models 2j and 2j + 1 split it between them, so that every record
   * is in for exactly half of the shadow models (LiRA, arXiv 2112.03570 §4).
   */
  shadow(k: number): readonly boolean[];
}

/**
 * Splits for membership inference: statements about strangers with values drawn afresh (no model of the zoo saw them), one per person and
 * relation; `size` members, as many non-members, as many for reference.
 * @throws {LfmError} CONFIG_INVALID when the world has too few strangers
 */
export function membershipSplit(world: World, options: { readonly seed?: number; readonly size?: number } = {}): MembershipSplit {
  const { seed = 1, size = 256 } = options;
  const rng = new Random(seed).split("membership");
  const pairs = world.strangers.flatMap((subject) => world.relations.map((relation) => ({ subject, relation: relation.id })));
  if (!Number.isInteger(size) || size < 1 || 3 * size > pairs.length) {
    throw new LfmError("CONFIG_INVALID", `[@lfm/data] membership: size must lie in 1..${Math.floor(pairs.length / 3)}, got ${size}`);
  }
  const draw = rng.split("records");
  const records = draw.sample(pairs, 3 * size).map(({ subject, relation }): MembershipRecord => {
    const fact = { subject, relation, value: draw.pick(world.values[relation]!) };
    const template = COMPACT + 1 + draw.int(world.relation(relation).templates.length - 1);
    return { ...promptFor(world, fact, template), text: statement(world, fact, template) };
  });
  const population = records.slice(0, 2 * size);
  const isMember = half(2 * size, rng.split("target"));
  return {
    population,
    members: population.filter((_, i) => isMember[i]),
    nonMembers: population.filter((_, i) => !isMember[i]),
    reference: records.slice(2 * size),
    shadow: (k) => {
      const mask = half(2 * size, rng.split(`shadow/${k >> 1}`));
      return k % 2 === 0 ? mask : mask.map((inside) => !inside);
    },
  };
}

/** `n` flags of which exactly half are true. */
function half(n: number, rng: Random): boolean[] {
  return rng.shuffle(Array.from({ length: n }, (_, i) => i < n / 2));
}
