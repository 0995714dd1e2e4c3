import type { Command } from "commander";
import type { CommonOptions } from "../program/console.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";

interface ListOptions extends CommonOptions {
  readonly paradigm?: string;
}

/** `lfm methods ls`, `lfm methods show ID`, `lfm methods schema ID`. */
export async function registerMethods(program: Command, invocation: Invocation): Promise<void> {
  const methods = program.command("methods").description("list the methods and their options");
  withCommonOptions(methods.command("ls").description("every method by paradigm"))
    .option("--paradigm <name>", "only this paradigm: tuning, distillation, reuse, meta, editing, retrieval")
    .action((options: ListOptions) =>
      act(invocation, options, async (console) => {
        const { LfmError, nearestName, paradigms } = await import("@lfm/core");
        const { loadRegistry } = await import("../paradigms.js");
        const { formatTable } = await import("../render/table.js");
        const wanted = options.paradigm;
        if (wanted !== undefined && !(paradigms as readonly string[]).includes(wanted)) {
          const near = nearestName(wanted, paradigms);
          throw new LfmError("CONFIG_INVALID", `no paradigm "${wanted}"`, {
            hint: near ? `did you mean "${near}"?` : `one of ${paradigms.join(", ")}`,
          });
        }
        const rows = (await loadRegistry()).methods
          .filter((m) => wanted === undefined || m.paradigm === wanted)
          .map((m) => ({ paradigm: m.paradigm, id: m.id, needs: [...m.needs], presets: Object.keys(m.presets ?? {}), summary: m.summary }));
        console.result({ methods: rows }, () =>
          formatTable(rows, [
            { title: "paradigm", value: (r) => r.paradigm },
            { title: "method", value: (r) => r.id },
            { title: "presets", value: (r) => r.presets.join(", ") },
            { title: "needs", value: (r) => r.needs.join(", ") },
            { title: "what it does", value: (r) => r.summary },
          ]),
        );
      }),
    );
  withCommonOptions(
    methods.command("show").argument("<id>", "a method, e.g. lora or editing/rome").description("one method: paper, options, presets"),
  ).action((id: string, options: CommonOptions) =>
    act(invocation, options, async (console) => {
      const { z } = await import("zod");
      const { callOf, loadRegistry } = await import("../paradigms.js");
      const { schemaFlags } = await import("./schema-flags.js");
      const { formatTable } = await import("../render/table.js");
      const m = (await loadRegistry()).get(id);
      const flags = schemaFlags(m.config);
      const value = {
        id: m.id,
        paradigm: m.paradigm,
        summary: m.summary,
        paper: m.paper,
        needs: m.needs,
        call: callOf(m),
        presets: m.presets ?? {},
        config: z.toJSONSchema(m.config, { io: "input", unrepresentable: "any" }),
      };
      console.result(value, () => {
        const link = m.paper.arxiv ? `https://arxiv.org/abs/${m.paper.arxiv}` : (m.paper.url ?? "");
        const presets = Object.entries(m.presets ?? {}).map(([name, p]) => `  ${name}: ${p.summary} ${JSON.stringify(p.config)}`);
        const options = formatTable(flags, [
          { title: "flag", value: (f) => f.flag },
          { title: "default", value: (f) => (f.default === undefined ? "–" : JSON.stringify(f.default)) },
          { title: "meaning", value: (f) => f.description },
        ]);
        return [
          `${m.paradigm}/${m.id}: ${m.summary}`,
          `${m.paper.title} (${m.paper.year}) ${link}`,
          `survey: ${m.paper.survey ?? "–"}; needs: ${m.needs.join(", ")}`,
          callOf(m),
          ...(presets.length > 0 ? ["presets:", ...presets] : []),
          "",
          options,
        ].join("\n");
      });
    }),
  );
  withCommonOptions(
    methods
      .command("schema")
      .argument("<id>", "a method, e.g. lora or editing/rome")
      .description("JSON Schema of the file that --config of the method's command takes"),
  ).action((id: string, options: CommonOptions) =>
    act(invocation, options, async (console) => {
      const { Command } = await import("commander");
      const { loadRegistry, verbs } = await import("../paradigms.js");
      const { addMethod } = await import("./method-command.js");
      const { runFileSchema } = await import("./run-file-schema.js");
      const method = (await loadRegistry()).get(id);
      const schema = runFileSchema(addMethod(new Command(method.id), verbs[method.paradigm], method, invocation), method);
      console.result(schema, () => JSON.stringify(schema, null, 2));
    }),
  );
}
