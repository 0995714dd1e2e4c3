import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Served } from "./served.js";

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What Prometheus reads of a server. Labels are routes, statuses and the models that it has: nothing that a request makes up. */
export class Metrics {
  private readonly registry = new Registry();
  private readonly requests = this.counter("requests_total", "requests by route and status", ["route", "status"]);
  private readonly seconds = this.histogram("request_seconds", "time to the end of an answer", ["route"]);
  private readonly first = this.histogram("first_token_seconds", "time to the first token of an answer", ["model"]);
  private readonly prompts = this.counter("prompt_tokens_total", "tokens of prompts and of texts that are embedded", ["model"]);
  private readonly made = this.counter("generated_tokens_total", "tokens that were generated", ["model"]);

  constructor(served: readonly Served[]) {
    const generators = new Map(served.flatMap((s) => (s.kind === "language" ? [[s.generator, s.parent ?? s.id] as const] : [])));
    for (const [name, help, of] of [
      ["running", "answers that are being decoded", "running"],
      ["waiting", "answers that wait for a slot", "waiting"],
      ["steps", "steps of decoding since the start", "steps"],
      ["step_rows", "tokens decoded in all steps together since the start", "rows"],
    ] as const)
      new Gauge({
        name: `lfm_${name}`,
        help,
        labelNames: ["model"],
        registers: [this.registry],
        collect() {
          for (const [generator, model] of generators) this.set({ model }, generator.load[of]);
        },
      });
  }

  request(route: string, status: number, seconds: number): void {
    this.requests.inc({ route, status });
    this.seconds.observe({ route }, seconds);
  }

  firstToken(model: string, seconds: number): void {
    this.first.observe({ model }, seconds);
  }

  tokens(model: string, prompt: number, made: number): void {
    this.prompts.inc({ model }, prompt);
    this.made.inc({ model }, made);
  }

  /** In Prometheus' text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  private counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({ name: `lfm_${name}`, help, labelNames, registers: [this.registry] });
  }

  private histogram<L extends string>(name: string, help: string, labelNames: L[]): Histogram<L> {
    return new Histogram({ name: `lfm_${name}`, help, labelNames, buckets: SECONDS, registers: [this.registry] });
  }
}
