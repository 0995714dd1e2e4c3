/**
 * The logit lens (nostalgebraist, "interpreting GPT: the logit lens", 2020): what the model would name after every block if the rest of it were the
 * final norm and the head alone.
 */
import {
  compileModel,
  concat,
  dimEqual,
  type Engine,
  type Hook,
  i32,
  LfmError,
  type Model,
  type Site,
  softmax,
  sym,
  type Tensor,
  topK,
} from "@lfm/core";

/** A token and its probability. */
export interface NamedToken {
  readonly token: number;
  readonly probability: number;
}

export interface LogitLens {
  /**
   * What every block would name next.
   * @returns by block, the embeddings first, then by token of the prompt: the most probable first
   */
  read(prompt: readonly number[]): Promise<readonly (readonly (readonly NamedToken[])[])[]>;
  dispose(): Promise<void>;
}

/**
 * @param count tokens that are named at each place
 * @throws {LfmError} CAPABILITY_MISSING for a model that is no language model
 */
export async function compileLens(engine: Engine, model: Model, count: number): Promise<LogitLens> {
  const blocks = model.info.sites.filter((s) => s.kind === "block");
  if (model.info.task !== "causal-lm" || blocks.length !== model.info.layers)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/editing] ${model.info.architecture} is no language model of blocks in a row: it has no logit lens`,
    );
  const last = lastSite(model);
  const f = await compileModel(engine, model, { tokens: { dtype: "i32", shape: [1, sym("seq")] } }, ({ tokens }, params, at) => {
    const states: Tensor[] = [];
    const paths = blocks.map((b) => b.path);
    const capture: Hook = {
      matches: (s) => paths.includes(s.path),
      input: (x, { path }) => {
        if (path === paths[0]) states.push(x);
        return x;
      },
      output: (y) => {
        states.push(y);
        return y;
      },
    };
    // One row for every block: the final norm and the head read them all at once.
    const all: Hook = { matches: (s) => s.path === last.path, input: () => concat(states, 0) };
    const { logits, prefix = 0 } = at.forward(params, { tokens }, { mode: "eval", hooks: [capture, all] });
    if (!dimEqual(prefix, 0))
      throw new LfmError(
        "CAPABILITY_MISSING",
        "[@lfm/editing] a prompt of vectors stands in front of the tokens: there is no lens for it",
        {
          hint: "look into the model without that delta",
        },
      );
    const { values, indices } = topK(softmax(logits!), count);
    return { values, indices };
  });
  return {
    read: async (prompt) => {
      const { values, indices } = await f({ tokens: i32(prompt, [1, prompt.length]) });
      const named = (place: number): readonly NamedToken[] =>
        Array.from({ length: count }, (_, i) => ({
          token: Number(indices.data[place * count + i]),
          probability: Number(values.data[place * count + i]),
        }));
      return Array.from({ length: blocks.length + 1 }, (_, block) =>
        Array.from({ length: prompt.length }, (_, token) => named(block * prompt.length + token)),
      );
    },
    dispose: f.dispose,
  };
}

/** The norm behind the last block, or where there is none the head. */
function lastSite({ info }: Model): Site {
  const behind = info.sites.slice(info.sites.findLastIndex((s) => s.layer !== undefined) + 1);
  return behind.find((s) => s.kind === "norm") ?? info.sites.find((s) => s.kind === "head")!;
}
