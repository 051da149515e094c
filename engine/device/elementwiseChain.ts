import { CHAIN_SLOTS, CHAIN_STEPS, type Chain, chainProblem } from '../../kernels/elementwise/index.ts'
import type { Capabilities, Grid, KernelSpec } from '../../kernels/spec.ts'
import type { ChainStep, LaunchStep } from '../../kernels/step.ts'
import type { Lane } from '../graph/lane.ts'
import { byNumber, share } from '../layout/layoutMemo.ts'
import type { ResolvedBinding } from '../memory/bindings.ts'
import type { CompiledKernel } from '../submit/pipelines.ts'
import type { SharedBlock } from '../submit/stream.ts'

/** The fewest launches that become one dispatch. Fewer are not worth a pipeline more. */
export const SHORTEST_CHAIN = 4
/**
 * The elements of a tensor of a chain at most. A step takes longer than the kernel of its op, which on larger tensors is more than a dispatch
 * costs: on lavapipe from 4,096 elements on, on SwiftShader from 2,048. The limit of GPUs is a guess.
 */
export function largestChain({ software }: Capabilities): number {
  return software ? 1024 : 16_384
}

/** A launch that can be a step of a chain, with all that a dispatch of its own takes. */
export interface ChainLaunch {
  readonly spec: KernelSpec
  readonly kernel: CompiledKernel
  readonly grid: Grid
  readonly block: SharedBlock
  readonly bindings: readonly ResolvedBinding[]
  readonly op: string
  readonly lane: Lane | undefined
  readonly step: LaunchStep
}

/** By count, a problem from which the kernel and the grid of every chain follow. */
export const chainOfCount: (count: number) => Chain = byNumber((count) => share(chainProblem(count, [])))

/**
 * Consecutive launches of elementwise kernels on small tensors of one size. Each element of a result depends on the same element of the
 * operands alone, so that one dispatch can do them all. Every result is written, as it is by the launches one by one.
 */
export class ElementwiseChain {
  #launches: ChainLaunch[] = []
  #slots: ResolvedBinding[] = []
  readonly #device: GPUDevice
  /** Memory for bindings that a chain does not use. The kernel takes all of its bindings, and no memory twice. */
  readonly #unused: ResolvedBinding[] = []

  constructor(device: GPUDevice) {
    this.#device = device
  }

  get launches(): readonly ChainLaunch[] {
    return this.#launches
  }

  /** Adds a launch. @returns false where it does not fit to those before it */
  add(launch: ChainLaunch): boolean {
    const { step, bindings, lane } = launch
    const first = this.#launches[0]
    if (first && (first.step.count !== step.count || first.lane !== lane || this.#launches.length === CHAIN_STEPS)) return false
    const before = this.#slots.length
    for (const binding of bindings) {
      if (this.#slotOf(binding) >= 0) continue
      // Two parts of one buffer could overlap.
      if (this.#slots.length === CHAIN_SLOTS || this.#slots.some(({ buffer }) => buffer === binding.buffer)) {
        this.#slots.length = before
        return false
      }
      this.#slots.push(binding)
    }
    this.#launches.push(launch)
    return true
  }

  /** The problem of the chain's dispatch. */
  problem(): Chain {
    const steps = this.#launches.map(({ step, bindings }): ChainStep => {
      const slotOf = (place: number | 'number') => (place === 'number' ? place : this.#slotOf(bindings[place]!))
      return { op: step.op, a: slotOf(step.a), b: slotOf(step.b), out: this.#slotOf(bindings[step.out]!), number: step.number }
    })
    return chainProblem(this.#launches[0]!.step.count, steps)
  }

  /** The bindings of the chain's dispatch. */
  bindings(): readonly ResolvedBinding[] {
    while (this.#unused.length < CHAIN_SLOTS) {
      const gpu = this.#device.createBuffer({ label: 'unused', size: 16, usage: GPUBufferUsage.STORAGE })
      // The pool numbers its buffers from 0 on.
      const id = -1 - this.#unused.length
      this.#unused.push({ buffer: { id, gpu, bytes: 16, lastUse: 0, broken: false }, offset: 0 })
    }
    return [...this.#slots, ...this.#unused.slice(this.#slots.length)]
  }

  /** Takes the launches, which leaves the chain empty. */
  take(): readonly ChainLaunch[] {
    const launches = this.#launches
    this.#launches = []
    this.#slots = []
    return launches
  }

  #slotOf({ buffer, offset }: ResolvedBinding): number {
    for (let slot = 0; slot < this.#slots.length; slot++) {
      const other = this.#slots[slot]!
      if (other.buffer === buffer && other.offset === offset) return slot
    }
    return -1
  }
}
