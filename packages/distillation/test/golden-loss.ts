import { readFileSync } from "node:fs";
import { compile, f32, grad, type HostTensor, referenceEngine, type Tensor } from "@lfm/core";
import { expect } from "vitest";

/** A tensor as the goldens have it. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

export interface LossCase {
  readonly teacher: Numbers;
  readonly student: Numbers;
  readonly loss: number;
  readonly grad: Numbers;
}

export const readGolden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`golden/${name}.json`, import.meta.url), "utf8")) as T;

export const numbers = (shape: readonly number[], data: readonly number[]): Numbers => ({ shape, data });
const host = ({ shape, data }: Numbers): HostTensor => f32([...data], [...shape]);

/** A loss between teacher and student with its gradient by the student, on the f64 reference. @param more other tensors that it reads */
export async function lossOf<K extends string = never>(
  { teacher, student }: Pick<LossCase, "teacher" | "student">,
  loss: (teacher: Tensor, student: Tensor, more: Readonly<Record<K, Tensor>>) => Tensor,
  more: Readonly<Record<K, HostTensor>> = {} as Readonly<Record<K, HostTensor>>,
): Promise<{ readonly loss: number; readonly grad: Numbers }> {
  const values = { teacher: host(teacher), student: host(student), more };
  const run = await compile(
    referenceEngine(),
    {
      teacher: { dtype: "f32", shape: teacher.shape },
      student: { dtype: "f32", shape: student.shape },
      more: Object.fromEntries(Object.entries<HostTensor>(more).map(([k, { dtype, shape }]) => [k, { dtype, shape }])),
    },
    (i) => {
      const value = loss(i.teacher, i.student, i.more as Readonly<Record<K, Tensor>>);
      return { value, grad: grad(value, i.student) };
    },
  );
  const out = await run(values);
  return { loss: Number(out.value.data[0]), grad: { shape: [...out.grad.shape], data: Array.from(out.grad.data, Number) } };
}

/** Value and gradient within 1e-5 of the golden's, relative to the largest. */
export function expectGolden(got: Awaited<ReturnType<typeof lossOf>>, want: Pick<LossCase, "loss" | "grad">): void {
  expect(Math.abs(got.loss - want.loss)).toBeLessThan(1e-5 * Math.max(1, Math.abs(want.loss)));
  expect(got.grad.shape).toEqual(want.grad.shape);
  const scale = Math.max(...want.grad.data.map(Math.abs));
  expect(Math.max(...got.grad.data.map((v, i) => Math.abs(v - want.grad.data[i]!)))).toBeLessThan(1e-5 * scale);
}
