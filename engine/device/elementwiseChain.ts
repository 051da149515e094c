import {
  CHAIN_SLOTS,
  CHAIN_STEPS,
  type Chain,
  NUMBER,
  type Step,
  stepWords,
} from '../../kernels/elementwise/chain.ts'
import type { Grid, KernelSpec } from '../../kernels/spec.ts'
import { byNumber, share } from '../layout/layoutMemo.ts'
import type { Lane } from '../graph/lane.ts'
import type { ResolvedBinding } from '../memory/bindings.ts'
import type { CompiledKernel } from '../submit/pipelines.ts'
import type { SharedBlock } from '../submit/stream.ts'

/** The fewest launches that become one dispatch. Fewer are not worth another pipeline. */
export const SHORTEST_CHAIN = 4
/** The most elements of a tensor of a chain. Of larger ones a kernel for the op alone is the faster. */
export const LARGEST_CHAIN = 16_384

/** A launch that may become a step of a chain, with what a dispatch of its own takes. */
export interface ChainLaunch {
  readonly kernel: CompiledKernel
  readonly grid: Grid
  readonly block: SharedBlock
  readonly bindings: readonly ResolvedBinding[]
  readonly op: string
  readonly lane: Lane | undefined
  readonly step: Step
  readonly spec: KernelSpec
}

/** By count, the problem from which kernel and grid of a chain follow. */
export const chainProblem: (count: number) => Chain = byNumber((count) => share({ count, length: 0, steps: [], loads: 0, stores: 0 }))

/**
 * Consecutive launches of elementwise kernels on small tensors of one size. An element of any result depends only on the same element of
 * the operands, so a kernel can do all of them for one element after the other, and one dispatch takes the place of many.
 */
export class ElementwiseChain {
  #launches: ChainLaunch[] = []
  #slots: ResolvedBinding[] = []
  readonly #words = new Uint32Array(2 * CHAIN_STEPS + 4)
  readonly #device: GPUDevice
  /** Memory for slots that a chain does not use, since a kernel takes all of its bindings, and no buffer twice. */
  #unused: ResolvedBinding[] = []

  constructor(device: GPUDevice) {
    this.#device = device
  }

  get launches(): readonly ChainLaunch[] {
    return this.#launches
  }

  /** Adds a launch. @returns false where it does not fit to those before */
  add(launch: ChainLaunch): boolean {
    const { step, bindings, lane } = launch
    const [first] = this.#launches
    if (first && (first.step.count !== step.count || first.lane !== lane || this.#launches.length === CHAIN_STEPS)) return false
    const taken = this.#slots.length
    for (const binding of bindings) {
      if (this.#slotOf(binding) >= 0) continue
      if (this.#slots.length === CHAIN_SLOTS || this.#slots.some(({ buffer }) => buffer === binding.buffer)) {
        this.#slots.length = taken
        return false
      }
      this.#slots.push(binding)
    }
    this.#launches.push(launch)
    return true
  }

  /** Takes the launches, and leaves the chain empty. */
  take(): readonly ChainLaunch[] {
    const launches = this.#launches
    this.#launches = []
    this.#slots = []
    return launches
  }

  /** The bindings of the chain's dispatch. */
  bindings(): readonly ResolvedBinding[] {
    while (this.#unused.length < CHAIN_SLOTS) {
      const gpu = this.#device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE })
      // The pool numbers its buffers from 0 on.
      const id = -1 - this.#unused.length
      this.#unused.push({ buffer: { id, gpu, bytes: 16, lastUse: 0, broken: false }, offset: 0 })
    }
    return [...this.#slots, ...this.#unused.slice(this.#slots.length)]
  }

  /** The parameters of the chain's dispatch. */
  words(): Uint32Array {
    const launches = this.#launches
    const words = this.#words
    let [loads, stores] = [0, 0]
    for (let k = 0; k < launches.length; k++) {
      const { step, bindings } = launches[k]!
      const slotOf = (operand: number | 'number') => {
        if (operand === 'number') return NUMBER
        const slot = this.#slotOf(bindings[operand]!)
        loads |= (1 << slot) & ~stores
        return slot
      }
      const [a, b, result] = [slotOf(step.a), slotOf(step.b), this.#slotOf(bindings[step.out]!)]
      stores |= 1 << result
      const [slots, number] = stepWords(step.op, a, b, result, step.number)
      words[2 * k] = slots
      words[2 * k + 1] = number
    }
    words[2 * CHAIN_STEPS] = launches.length
    words[2 * CHAIN_STEPS + 1] = launches[0]!.step.count
    words[2 * CHAIN_STEPS + 2] = loads
    words[2 * CHAIN_STEPS + 3] = stores
    return words
  }

  #slotOf({ buffer, offset }: ResolvedBinding): number {
    for (let slot = 0; slot < this.#slots.length; slot++) {
      const other = this.#slots[slot]!
      if (other.buffer === buffer && other.offset === offset) return slot
    }
    return -1
  }
}
