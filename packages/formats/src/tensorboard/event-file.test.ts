import { expect, it } from "vitest";
import { eventFile } from "./event-file.js";

it("writes the bytes that TensorBoard 2.21's EventAccumulator reads back as these scalars", () => {
  const events = [
    { tag: "loss", step: 0, value: 1.5 },
    { tag: "loss", step: 300, value: 0.25 },
    { tag: "valid.loss", step: 20_000_000, value: -3e-5 },
  ];
  expect(Buffer.from(eventFile(events, 1_700_000_000.5)).toString("hex")).toBe(
    "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b3531101a00000000000000129bd82d0900002040fc54d94110002a0d0a0b" +
      "0a046c6f7373150000c03fc425749c1b000000000000001a0d9e130900002040fc54d94110ac022a0d0a0b0a046c6f7373150000803ec5f6859b2300000000000000b0" +
      "9f77430900002040fc54d9411080dac4092a130a110a0a76616c69642e6c6f73731582a8fbb7891e63b1",
  );
});
