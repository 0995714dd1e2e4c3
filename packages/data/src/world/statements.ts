import { mix32 } from "@lfm/core";
import { type Chain, COMPACT } from "./relations.js";
import type { Fact, World } from "./world.js";

/** A prompt whose right completion is one word. */
export interface Prompt {
  /** Without `<bos>`; ends right before the answer. */
  readonly prompt: string;
  readonly answer: string;
  readonly fact: Fact;
  readonly template: number;
}

/** The text of form `template` about `subject`, up to the value. */
export function promptText(world: World, relation: string, template: number, subject: string): string {
  return world.relation(relation).templates[template]!.replace("{}", subject);
}

/** The whole sentence: `prompt value .` */
export function statement(world: World, fact: Fact, template: number): string {
  return `${promptText(world, fact.relation, template, fact.subject)} ${fact.value} .`;
}

/**
 * The form that training never uses for this fact. It is chosen by a hash of the fact's names, never the compact form,
 * so that every form is seen with about four fifths of the facts of its relation.
 */
export function heldOutTemplate(world: World, subject: string, relation: string): number {
  const forms = world.relation(relation).templates.length - 1;
  return COMPACT + 1 + (hash(world, `${relation}/${subject}`) % forms);
}

/** The forms that training uses for this fact. */
export function trainedTemplates(world: World, subject: string, relation: string): number[] {
  const held = heldOutTemplate(world, subject, relation);
  return world.relation(relation).templates.flatMap((_, i) => (i === held ? [] : [i]));
}

export function promptFor(world: World, fact: Fact, template: number): Prompt {
  return { prompt: promptText(world, fact.relation, template, fact.subject), answer: fact.value, fact, template };
}

/** What follows from two facts (the home of a person, the realm of that home), asked about the person. */
export function consequencePrompt(world: World, chain: Chain, subject: string, template: number): Prompt {
  const relation = chain.relation.id;
  const value = world.valueOf(world.valueOf(subject, chain.via), relation);
  return { prompt: chain.hopTemplates[template]!.replace("{}", subject), answer: value, fact: { subject, relation, value }, template };
}

/** One consequence in four is never stated in training: a model that answers it has put two facts together. */
export function taughtConsequence(world: World, chain: Chain, subject: string): boolean {
  return hash(world, `${chain.relation.id}/${subject}`) % 4 !== 0;
}

/** 32 bits of a text, other ones in another world. */
function hash(world: World, text: string): number {
  let h = mix32(world.seed ^ 0x7e3a);
  for (const ch of text) h = mix32((h ^ ch.codePointAt(0)!) + 0x9e3779b9);
  return h >>> 0;
}
