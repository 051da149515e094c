import { countVariant } from '../runs.ts'
import { type Binding, type KernelSpec, scalars, writes } from '../spec.ts'
import { accumulate } from './accumulate.ts'
import { type Binary, binary } from './binary.ts'
import chainSource from './chain.wgsl'
import { isFlat, type NestProblem } from '../layout.ts'
import { scalar, type WithScalar } from './scalar.ts'
import { type Unary, unary } from './unary.ts'

/** Operations of a step, by their numbers in chain.wgsl. */
export const STEPS = { add: 0, sub: 1, mul: 2, div: 3, neg: 4, sqrt: 5, relu: 6 } as const

export type StepOp = keyof typeof STEPS

/** The tensors that one chain takes: the storage buffers that every device allows in a shader. */
export const CHAIN_SLOTS = 8
/** The most steps of a chain, which its parameters hold. */
export const CHAIN_STEPS = 30
/** In place of a slot of an operand, the step's number. */
export const NUMBER = 8

const bits = new DataView(new ArrayBuffer(4))

/** The two words of a step. @param a, b, out slots, or what stands in their place */
export function stepWords(op: StepOp, a: number, b: number, out: number, number: number): [slots: number, number: number] {
  bits.setFloat32(0, number)
  return [STEPS[op] | (a << 4) | (b << 8) | (out << 12), bits.getUint32(0)]
}

/** Elementwise operations in a row of `count` neighbouring elements. */
export interface Chain {
  count: number
  /** The number of steps. */
  length: number
  /** Two words a step, see `stepWords`. */
  steps: number[]
  /** The slots to load and to store, as bits. */
  loads: number
  stores: number
}

const tensors: Binding[] = Array.from({ length: CHAIN_SLOTS }, (_, slot) => writes('f32', `t${slot}`)[0]!)

/** Does up to `CHAIN_STEPS` operations in order, float32. Each result is rounded, and the same bits as those of the kernel of the op alone. */
export const chain: KernelSpec<Chain> = {
  name: 'chain',
  bindings: tensors,
  params: [{ name: 'steps', type: 'u32', length: 2 * CHAIN_STEPS }, ...scalars('u32', 'length', 'count', 'loads', 'stores')],
  variants: [countVariant(chainSource)],
  flops: ({ count, length }) => count * length,
  bytes: ({ count, length }) => 8 * count * length,
}

/** A launch of another kernel as a step of a chain. */
export interface Step {
  op: StepOp
  count: number
  /** The operands and the result, as places in the bindings of the launch; an operand may be `NUMBER`'s. */
  a: number | 'number'
  b: number | 'number'
  out: number
  number: number
}

/** The launch of a kernel as a step of a chain, or undefined where it is none. */
export function stepOf(spec: KernelSpec, problem: unknown): Step | undefined {
  if (spec === binary) {
    const { op, inner } = problem as Binary
    return movesAlong(problem as Binary) ? { op, count: inner, a: 0, b: 1, out: 2, number: 0 } : undefined
  }
  if (spec === accumulate) {
    const { inner } = problem as NestProblem
    return movesAlong(problem as NestProblem) ? { op: 'add', count: inner, a: 1, b: 0, out: 1, number: 0 } : undefined
  }
  if (spec === scalar) {
    const { op, count, scalar: number } = problem as WithScalar
    const [name, swapped] = SCALAR_STEPS[op]
    return { op: name, count, a: swapped ? 'number' : 0, b: swapped ? 0 : 'number', out: 1, number }
  }
  if (spec === unary) {
    const { op, count } = problem as Unary
    return op === 'neg' || op === 'sqrt' || op === 'relu' ? { op, count, a: 0, b: 0, out: 1, number: 0 } : undefined
  }
  return undefined
}

const SCALAR_STEPS = {
  add: ['add', false],
  mul: ['mul', false],
  div: ['div', false],
  subFrom: ['sub', true],
  divInto: ['div', true],
} as const

/** Whether all operands are runs of neighbours that begin with their memory. */
function movesAlong(problem: NestProblem): boolean {
  return isFlat(problem) && problem.walks.every(({ step, offset }) => step === 1 && offset === 0)
}
