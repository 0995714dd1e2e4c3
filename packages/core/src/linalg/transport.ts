import { LfmError } from "../errors.js";
import { solveAssignment } from "./assignment.js";

export interface TransportPlan {
  /** f64[sources, sinks]: mass that goes from source to sink; rows sum to 1/sources, columns to 1/sinks. */
  readonly plan: Float64Array;
  /** Σ plan · cost: the earth mover's distance. */
  readonly value: number;
}

/**
 * Exact optimal transport between uniform masses: every source holds 1/sources, every sink takes 1/sinks.
 * Equal counts are an assignment problem; otherwise successive shortest paths over integer masses (lcm of both counts), so that no
 * rounding decides. O(sources·sinks) for each of about sources + sinks paths.
 * @param cost f64[sources, sinks], row-major, finite
 * @throws {LfmError} SHAPE_MISMATCH, NUMERIC_DIVERGED
 */
export function optimalTransport(cost: Float64Array, sources: number, sinks: number): TransportPlan {
  if (sources < 1 || sinks < 1 || cost.length !== sources * sinks)
    throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] transport: ${cost.length} costs for [${sources}, ${sinks}]`);
  const bad = cost.findIndex((c) => !Number.isFinite(c));
  if (bad >= 0)
    throw new LfmError("NUMERIC_DIVERGED", `[@lfm/core] transport: cost [${Math.floor(bad / sinks)}, ${bad % sinks}] is ${cost[bad]}`);
  const plan = new Float64Array(sources * sinks);
  let unit = sources;
  if (sources === sinks) {
    const { columns } = solveAssignment(cost, sources, sinks);
    for (let i = 0; i < sources; i++) plan[i * sinks + columns[i]!] = 1;
  } else {
    unit = (sources / gcd(sources, sinks)) * sinks;
    flow(cost, sources, sinks, unit, plan);
  }
  let value = 0;
  for (let k = 0; k < plan.length; k++) {
    plan[k]! /= unit;
    value += plan[k]! * cost[k]!;
  }
  return { plan, value };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Fills `plan` with integer masses; `total` of them go over. */
function flow(cost: Float64Array, sources: number, sinks: number, total: number, plan: Float64Array): void {
  const demand = new Float64Array(sinks).fill(total / sinks);
  const sourcePrice = new Float64Array(sources);
  const sinkPrice = new Float64Array(sinks);
  const distance = new Float64Array(sinks);
  const sourceDistance = new Float64Array(sources);
  const sourceOf = new Int32Array(sinks);
  const sinkOf = new Int32Array(sources);
  for (let start = 0; start < sources; start++) {
    let supply = total / sources;
    while (supply > 0) {
      const end = shortestPath(start);
      let amount = Math.min(supply, demand[end]!);
      for (let j = end, i = sourceOf[j]!; i !== start; j = sinkOf[i]!, i = sourceOf[j]!)
        amount = Math.min(amount, plan[i * sinks + sinkOf[i]!]!);
      supply -= amount;
      demand[end]! -= amount;
      for (let j = end; ; ) {
        const i = sourceOf[j]!;
        plan[i * sinks + j]! += amount;
        if (i === start) break;
        j = sinkOf[i]!;
        plan[i * sinks + j]! -= amount;
      }
    }
  }

  /** The nearest sink with demand left, over arcs of the residual network; updates prices so that arcs with flow keep reduced cost 0. */
  function shortestPath(start: number): number {
    distance.fill(Number.POSITIVE_INFINITY);
    const seenSource = new Uint8Array(sources);
    const seenSink = new Uint8Array(sinks);
    seenSource[start] = 1;
    sourceDistance[start] = 0;
    const fresh: number[] = [start];
    const reached: number[] = [];
    const joined: number[] = [start];
    for (;;) {
      for (const i of fresh) {
        const price = sourceDistance[i]! - sourcePrice[i]!;
        for (let j = 0; j < sinks; j++) {
          const through = price + cost[i * sinks + j]! - sinkPrice[j]!;
          if (seenSink[j] === 0 && through < distance[j]!) {
            distance[j] = through;
            sourceOf[j] = i;
          }
        }
      }
      fresh.length = 0;
      let next = -1;
      for (let j = 0; j < sinks; j++) {
        if (seenSink[j] === 1) continue;
        if (next < 0 || distance[j]! < distance[next]! || (distance[j] === distance[next] && demand[j]! > 0 && demand[next]! <= 0))
          next = j;
      }
      seenSink[next] = 1;
      const shortest = distance[next]!;
      if (demand[next]! > 0) {
        for (const i of joined) sourcePrice[i]! += shortest - sourceDistance[i]!;
        for (const j of reached) sinkPrice[j]! -= shortest - distance[j]!;
        return next;
      }
      reached.push(next);
      for (let i = 0; i < sources; i++) {
        if (seenSource[i] === 1 || !(plan[i * sinks + next]! > 0)) continue;
        seenSource[i] = 1;
        sourceDistance[i] = shortest;
        sinkOf[i] = next;
        fresh.push(i);
        joined.push(i);
      }
    }
  }
}
