import { countVariant } from '../runs.ts'
import { type KernelSpec, scalars, writes } from '../spec.ts'
import type { ChainStep, StepOp } from '../step.ts'
import chainSource from './chain.wgsl'

/** Operations of a step, by their numbers in chain.wgsl. */
const STEPS: Record<StepOp, number> = { add: 0, sub: 1, mul: 2, div: 3, neg: 4, sqrt: 5, relu: 6 }

/** The tensors of a chain at most: the storage buffers that every device allows in a shader. */
export const CHAIN_SLOTS = 8
/** The steps of a chain at most, as its parameters hold them. */
export const CHAIN_STEPS = 30

/** Elementwise operations, one after the other, on tensors of `count` neighbouring elements. `chainProblem` makes it. */
export interface Chain {
  count: number
  /** The number of steps. */
  length: number
  /** Two words a step: the operation and three slots in 4 bits each, and the bits of the number. */
  steps: number[]
  /** The slots whose first use is a read, as bits. */
  loads: number
  /** The slots that steps write, as bits. */
  stores: number
}

const bits = new DataView(new ArrayBuffer(4))

/** @param steps at most `CHAIN_STEPS` */
export function chainProblem(count: number, steps: readonly ChainStep[]): Chain {
  let [loads, stores] = [0, 0]
  const words: number[] = []
  const operand = (slot: number | 'number') => {
    if (slot === 'number') return CHAIN_SLOTS
    loads |= (1 << slot) & ~stores
    return slot
  }
  for (const { op, a, b, out: result, number } of steps) {
    words.push(STEPS[op] | (operand(a) << 4) | (operand(b) << 8) | (result << 12))
    stores |= 1 << result
    bits.setFloat32(0, number)
    words.push(bits.getUint32(0))
  }
  return { count, length: steps.length, steps: words, loads, stores }
}

/** The steps of a chain, as `chainProblem` took them. */
export function chainSteps({ length, steps }: Chain): ChainStep[] {
  const operand = (slot: number) => (slot === CHAIN_SLOTS ? 'number' : slot)
  const names = Object.keys(STEPS) as StepOp[]
  return Array.from({ length }, (_, k) => {
    const [word, number] = [steps[2 * k]!, steps[2 * k + 1]!]
    bits.setUint32(0, number)
    return {
      op: names[word & 15]!,
      a: operand((word >> 4) & 15),
      b: operand((word >> 8) & 15),
      out: word >> 12,
      number: bits.getFloat32(0),
    }
  })
}

/**
 * Up to `CHAIN_STEPS` operations in order, float32. Tensors are distinct memory. The results have the bits of those that the kernels of the
 * operations give: a step knows its operation at run time only, so no compiler contracts two of them.
 */
export const chain: KernelSpec<Chain> = {
  name: 'chain',
  bindings: writes('f32', ...Array.from({ length: CHAIN_SLOTS }, (_, slot) => `t${slot}`)),
  params: [{ name: 'steps', type: 'u32', length: 2 * CHAIN_STEPS }, ...scalars('u32', 'length', 'count', 'loads', 'stores')],
  variants: [countVariant(chainSource)],
  shapeClass: ({ count, length }) => [count, length],
  flops: ({ count, length }) => count * length,
  bytes: ({ count, loads, stores }) => 4 * count * (ones(loads) + ones(stores)),
}

function ones(slots: number): number {
  let sum = 0
  for (let rest = slots; rest > 0; rest &= rest - 1) sum++
  return sum
}
