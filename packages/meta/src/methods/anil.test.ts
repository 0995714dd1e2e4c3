import { isLfmError } from "@lfm/core";
import { expect, it } from "vitest";
import { lineEpisodes, lineInputs, tinyContext } from "../../test/tiny-meta.js";
import { anil } from "./anil.js";
import { maml } from "./maml.js";

const options = { steps: 3, innerSteps: 2, innerLr: 0.1 };

it("is MAML where the model is nothing but its last layer", async () => {
  const inputs = lineInputs([]);
  const [one, all] = [
    await anil.run(inputs, anil.config.parse(options), tinyContext()),
    await maml.run(inputs, maml.config.parse(options), tinyContext()),
  ];
  expect(one.delta.tensors).toEqual(all.delta.tensors);
  expect(await one.predict(lineEpisodes(7))).toEqual(await all.predict(lineEpisodes(7)));
});

it("learns the body by the outer loop, and is not MAML there", async () => {
  const inputs = lineInputs();
  const one = await anil.run(inputs, anil.config.parse(options), tinyContext());
  const all = await maml.run(inputs, maml.config.parse(options), tinyContext());
  expect(one.delta.tensors["fc1.weight"]).not.toEqual(inputs.model.params["fc1.weight"]);
  expect(one.delta.tensors).not.toEqual(all.delta.tensors);
});

it("refuses a model without a last layer", async () => {
  const inputs = lineInputs();
  const { info } = inputs.model;
  const headless = { ...inputs.model, info: { ...info, sites: info.sites.filter((s) => s.kind !== "head") } };
  const refusal = anil.run({ ...inputs, model: headless }, anil.config.parse(options), tinyContext());
  await expect(refusal).rejects.toSatisfy((e) => isLfmError(e, "CAPABILITY_MISSING"));
});
