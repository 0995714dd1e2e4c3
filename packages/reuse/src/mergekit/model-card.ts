import type { MergeMethod } from "../merging/merge-method.js";
import type { MergeDocument } from "./document.js";
import type { ModelFiles } from "./model-files.js";

/** What a hub calls a model: owner/name. */
const HUB_NAME = /^[\w-][\w.-]*\/[\w.-]+$/;

/** README.md of a merged model: what it was made of and how, in the form that model hubs read. */
export function modelCard(
  document: MergeDocument,
  { summary, paper }: MergeMethod,
  models: readonly ModelFiles[],
  base?: ModelFiles,
): string {
  // A path that looks like a hub's name lies where the path says; a download does not.
  const names = models.map(({ name, folder }) => ({ name, isOnHub: HUB_NAME.test(name) && !folder.endsWith(`/${name}`) }));
  const onHub = names.filter((m) => m.isOnHub).map((m) => `\n- ${m.name}`);
  const merged = models.filter((m) => m !== base);
  return [
    "---",
    ...(onHub.length > 0 ? [`base_model:${onHub.join("")}`] : []),
    "library_name: transformers",
    "tags:",
    "- mergekit",
    "- merge",
    "- lfm",
    "---",
    "# A merged model",
    "",
    `Made by lfm with the method \`${document.method}\` of a mergekit configuration: ${summary}`,
    ...(paper.arxiv ? [`See [${paper.title}](https://arxiv.org/abs/${paper.arxiv}) (${paper.year}).`] : []),
    "",
    ...(base ? [`Base: ${linked(base, names)}`, ""] : []),
    "Merged:",
    ...merged.map((m) => `- ${linked(m, names)}`),
    "",
    "```yaml",
    document.text.trimEnd(),
    "```",
    "",
  ].join("\n");
}

function linked({ name }: ModelFiles, names: readonly { readonly name: string; readonly isOnHub: boolean }[]): string {
  return names.some((m) => m.name === name && m.isOnHub) ? `[${name}](https://huggingface.co/${name})` : `\`${name}\``;
}
