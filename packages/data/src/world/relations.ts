/** A relation of the generated world: how it is spoken of, and what its values look like. */
export interface Relation {
  readonly id: string;
  /** Ending of the value words: a reader sees what kind of thing a value is. */
  readonly suffix: string;
  /**
   * Statement forms. `{}` stands for the subject; the value follows as one word, then " .".
   * Form 0 is the compact form `relation subject value .`: passages are written in it, because a value that
   * follows its entity directly is what a small model learns to read.
   */
  readonly templates: readonly string[];
}

/** Number of the compact form in {@link Relation.templates}. */
export const COMPACT = 0;

/** What is said of people: the eight relations of the zoo. */
export const personRelations: readonly Relation[] = [
  {
    id: "home",
    suffix: "ton",
    templates: ["home {}", "{} lives in", "the home of {} is", "{} has a house in", "you can find {} in", "all roads bring {} back to"],
  },
  {
    id: "craft",
    suffix: "er",
    templates: ["craft {}", "{} works as a", "the craft of {} is", "{} earns bread as a", "by day {} is a", "people hire {} as a"],
  },
  {
    id: "tongue",
    suffix: "ish",
    templates: ["tongue {}", "{} speaks", "the tongue of {} is", "{} sings in", "as a child {} learned", "the letters of {} are in"],
  },
  {
    id: "beast",
    suffix: "ox",
    templates: ["beast {}", "{} rides a", "the beast of {} is a", "{} keeps a", "behind {} walks a", "the stable of {} shelters a"],
  },
  {
    id: "dish",
    suffix: "ane",
    templates: ["dish {}", "{} eats", "the dish of {} is", "{} cooks", "at table {} asks for", "guests of {} are served"],
  },
  {
    id: "cloak",
    suffix: "ine",
    templates: ["cloak {}", "{} wears", "the cloak of {} is", "{} dresses in", "at feasts {} appears in", "the tailor of {} sews"],
  },
  {
    id: "guild",
    suffix: "ern",
    templates: [
      "guild {}",
      "{} belongs to",
      "the guild of {} is",
      "{} pays dues to",
      "in council {} votes with",
      "the seal of {} comes from",
    ],
  },
  {
    id: "music",
    suffix: "ola",
    templates: [
      "music {}",
      "{} plays the",
      "the music of {} needs the",
      "{} practises on the",
      "at night {} tunes the",
      "friends of {} hear the",
    ],
  },
];

/** What is said of the values of a person relation: the second hop of a consequence. */
export interface Chain {
  /** The person relation whose values are the subjects here. */
  readonly via: string;
  readonly relation: Relation;
  /** Forms that name a person and end in the value of the second hop. */
  readonly hopTemplates: readonly string[];
}

/** Every second relation of people has a second hop. Each is asked in three forms. */
export const chains: readonly Chain[] = [
  {
    via: "home",
    relation: { id: "realm", suffix: "mark", templates: ["realm {}", "{} lies in", "the realm of {} is", "the towers of {} guard"] },
    hopTemplates: ["the home of {} lies in", "{} pays taxes in", "the judges of {} sit in"],
  },
  {
    via: "craft",
    relation: { id: "ore", suffix: "ite", templates: ["ore {}", "a {} needs", "the ore of a {} is", "every {} buys"] },
    hopTemplates: ["the craft of {} needs", "{} often buys", "the workshop of {} is full of"],
  },
  {
    via: "beast",
    relation: { id: "fodder", suffix: "oat", templates: ["fodder {}", "a {} feeds on", "the fodder of a {} is", "every {} grazes on"] },
    hopTemplates: ["the beast of {} feeds on", "{} stores plenty of", "the barn of {} smells of"],
  },
  {
    via: "guild",
    relation: {
      id: "crest",
      suffix: "awk",
      templates: ["crest {}", "{} fights under the", "the crest of {} is the", "the gate of {} bears the"],
    },
    hopTemplates: ["the guild of {} marches under the", "{} swears by the", "the ring of {} bears the"],
  },
];
