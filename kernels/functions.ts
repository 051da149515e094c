// Functions of one operand: what the kernels of their families share.
import { countVariant } from './runs.ts'
import type { Arrays, Fill, KernelCase, KernelSpec, Param } from './spec.ts'
import { branchStrides, reads, SCALAR_BYTES, scalars, writes } from './spec.ts'

/** A function of `count` neighbouring elements. */
export interface Elements<Op extends string = string> {
  op: Op
  count: number
  /** The stored type; kernels compute in float32. Default 'f32'. */
  dtype?: 'f32' | 'f16'
}

/** The element type of the operands. */
const stored = ({ dtype = 'f32' }: Pick<Elements, 'dtype'>) => dtype

/**
 * Makes the spec of a family of functions: output [count] from the inputs [count], all of one type.
 * @param numbers the number of each function in the WGSL
 * @param params parameters that follow `count`
 */
export function functionSpec<P extends Elements>(
  name: string,
  source: string,
  numbers: Readonly<Record<P['op'], number>>,
  [inputs, output]: readonly [inputs: readonly string[], output: string],
  params: readonly Param[] = [],
): KernelSpec<P> {
  const operands = inputs.length + 1
  return {
    name,
    bindings: [...reads(stored, ...inputs), ...writes(stored, output)],
    params: [branchStrides(operands), ...scalars('u32', 'count'), ...params],
    variants: [countVariant(source, (problem) => ({ Stored: stored(problem), OP: numbers[problem.op as P['op']] }))],
    flops: ({ count }) => count,
    bytes: (problem) => operands * SCALAR_BYTES[stored(problem)] * problem.count,
  }
}

/** A function in float64, and its derivative from what the forward kernel saves: x, or y = f(x). */
export interface FunctionOf<P = Elements> {
  f(x: number, problem: P): number
  derivative?(saved: number, problem: P): number
}

/** The references of a family: y from x, and out = grad times the derivative at `saved`. */
export function functionReferences<P extends Elements>(functions: Readonly<Record<P['op'], FunctionOf<P>>>) {
  const of = (problem: P): FunctionOf<P> => functions[problem.op as P['op']]
  return {
    forward: (problem: P, { x }: Arrays): Arrays => ({ y: x!.map((value) => of(problem).f(value, problem)) }),
    backward: (problem: P, { grad, saved }: Arrays): Arrays => ({
      out: grad!.map((g, i) => g * of(problem).derivative!(saved![i]!, problem)),
    }),
  }
}

const MILLION = 1_000_000

/** The numbers on which a function is tried, by a name for them, and the largest error, by default 1e-6. */
export interface Trial {
  fills: Readonly<Record<string, Fill>>
  tolerance?: number
}

type More<P> = Omit<P, keyof Elements>

/**
 * Makes the cases of a family. Every function has its own numbers and float16; the first one has all counts too, since the code around the
 * functions is the same.
 * @param input the binding that the numbers fill, `x` forward and `saved` backward
 * @param sizes the bindings that have `count` elements
 * @param more the parameters besides `count`
 */
export function functionCases<P extends Elements>(
  trials: Readonly<Partial<Record<P['op'], Trial>>>,
  input: string,
  sizes: readonly string[],
  more: More<P>,
): KernelCase<P>[] {
  const make = (op: string, name: string, count: number, fill: Fill, dtype: 'f32' | 'f16', tolerance?: number) => ({
    name: `${op}, ${name}${dtype === 'f16' ? ', float16' : ''}`,
    problem: { op, count, ...(dtype === 'f16' && { dtype }), ...more } as unknown as P,
    sizes: Object.fromEntries(sizes.map((size) => [size, count])),
    fills: { [input]: fill },
    ...(tolerance !== undefined && { tolerance }),
  })
  return (Object.entries(trials) as [string, Trial][]).flatMap(([op, { fills, tolerance = 1e-6 }], i) => {
    const [first] = Object.values(fills) as [Fill]
    return [
      ...(i === 0 ? [1, 2, 3, 4, 7, 33, 1025, 100_003] : []).map((n) => make(op, `${n}`, n, first, 'f32', tolerance)),
      ...Object.entries(fills).map(([name, fill]) => make(op, name, 1025, fill, 'f32', tolerance)),
      make(op, '1025', 1025, first, 'f16'),
      { ...make(op, '1e6', MILLION, first, 'f32', tolerance), bench: true },
    ]
  })
}

/** Numbers spread evenly from `low` to `high`. */
export function between(low: number, high: number): Fill {
  return (_, random) => low + (high - low) * random()
}

/** Numbers of both signs whose logarithms are spread evenly from those of `low` to those of `high`. */
export function magnitudes(low: number, high: number): Fill {
  return (_, random) => (random() < 0.5 ? -1 : 1) * low * (high / low) ** random()
}
