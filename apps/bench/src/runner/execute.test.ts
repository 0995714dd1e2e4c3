import { describe, expect, it } from "vitest";
import { SharedThings } from "./execute.js";

describe("shared things", () => {
  it("are made once, and given back once where they say how", async () => {
    const shared = new SharedThings();
    const [made, gone]: [string[], string[]] = [[], []];
    const ask = (name: string) =>
      shared.get(
        name,
        async () => {
          made.push(name);
          return name;
        },
        (thing) => gone.push(thing),
      );
    expect(await Promise.all([ask("a"), ask("a"), ask("b"), shared.get("plain", async () => 1)])).toEqual(["a", "a", "b", 1]);
    expect([made, gone]).toEqual([["a", "b"], []]);
    shared.release();
    shared.release();
    expect(gone).toEqual(["a", "b"]);
  });

  it("are timed while at least one is being made, those that another asks for with it", async () => {
    const shared = new SharedThings();
    const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
    expect(shared.makingMs).toBe(0);
    const inner = () => shared.get("inner", () => wait(60));
    const started = performance.now();
    await Promise.all([shared.get("outer", inner), shared.get("beside", () => wait(60))]);
    const passed = performance.now() - started;
    const first = shared.makingMs;
    expect(first).toBeGreaterThanOrEqual(55);
    expect(first).toBeLessThanOrEqual(passed);
    await inner();
    await wait(20);
    expect(shared.makingMs).toBe(first);
    await shared.get("fails", () => wait(10).then(() => Promise.reject(new Error("no room")))).catch(() => {});
    expect(shared.makingMs).toBeGreaterThan(first + 5);
  });

  it("that could not be made are made again by the next, and never given back", async () => {
    const shared = new SharedThings();
    const gone: number[] = [];
    const fails = shared.get<number>(
      "x",
      () => Promise.reject(new Error("no room")),
      (n) => gone.push(n),
    );
    await expect(fails).rejects.toThrow("no room");
    expect(await shared.get("x", async () => 2)).toBe(2);
    shared.release();
    expect(gone).toEqual([]);
  });
});
