import { addAll, autocast, fork, noGrad, scope, stack, type Tensor } from '../../engine/index.ts'
import { testRandom } from './kernel.ts'
import { type Inputs, Steps, type World } from './randomSteps.ts'

/** The values that a program computes, to be compared, and those of which a loss is made. */
export interface Outcome {
  values: Tensor[]
  losses: Tensor[]
}

/**
 * A random program. It depends only on the seed and on the shapes of its inputs, so that every call does the same.
 */
export function randomProgram(seed: number, world: World): (inputs: Inputs) => Outcome {
  const walk = (inputs: Inputs) => new Walk(new Steps(testRandom(seed), world, inputs, [inputs.x], world.shared, true), 0)
  return (inputs) => autocast(world.half ? 'float16' : 'float32', () => walk(inputs).outcome())
}

/** One run of a program: steps and forks, whose branches have steps and forks of their own. */
class Walk {
  readonly #steps: Steps
  readonly #depth: number

  constructor(steps: Steps, depth: number) {
    this.#steps = steps
    this.#depth = depth
  }

  outcome(): Outcome {
    const steps = this.#steps
    steps.take(2 + steps.below(4))
    const forks = 1 + steps.below(2)
    for (let i = 0; i < forks; i++) {
      this.#fork()
      steps.take(1 + steps.below(4))
    }
    const made = steps.values.slice(1)
    // Some values are never returned, and some twice.
    const values = [made.at(-1)!, ...made.filter(() => steps.random() < 0.4)]
    if (steps.random() < 0.5) values.push(values[0]!, steps.inputs.x, steps.transposed(steps.inputs.x))
    const losses = [made.at(-1)!, ...made.filter(() => steps.random() < 0.5)]
    if (steps.random() < 0.5) losses.push(steps.crossEntropy())
    return { values, losses: losses.filter(({ requiresGrad }) => requiresGrad) }
  }

  /** Forks into branches that do the same, begin alike, or differ. */
  #fork(): void {
    const steps = this.#steps
    const count = 2 + steps.below(3)
    const likeness = steps.pick(['same', 'same', 'begin', 'different'] as const)
    const seed = steps.below(2 ** 30)
    const taken = steps.values.filter(() => steps.random() < 0.7)
    const values = taken.length > 0 ? taken : [steps.inputs.x]
    const own = steps.random() < 0.75
    const scoped = steps.random() < 0.7
    const drawn = steps.pick(['serial', 'streams', 'coalesced'] as const)
    const mode = steps.world.mode === 'mixed' ? drawn : steps.world.mode
    const branch = (i: number) => () => {
      const random = testRandom(likeness === 'different' ? seed + i : seed)
      const weights = own ? steps.world.branches[i]! : steps.weights
      const writes = own && this.#depth === 0
      const walk = new Walk(new Steps(random, steps.world, steps.inputs, values, weights, writes), this.#depth + 1)
      const body = () => walk.#branch(likeness === 'begin' ? testRandom(seed + i) : undefined)
      return scoped ? scope(body) : body()
    }
    const branches = Object.fromEntries(Array.from({ length: count }, (_, i) => [`branch${i}`, branch(i)]))
    const together = seed % 3 === 0 ? 2 : undefined
    const results = fork(steps.world.device, mode, branches, { together })
    for (const list of results) steps.values.push(...list.filter(() => steps.random() < 0.8))
    const first = results.map(([result]) => result!)
    if (first.every(({ shape }) => `${shape}` === `${first[0]!.shape}`)) {
      steps.values.push(steps.random() < 0.5 ? addAll(first).mul(0.5) : stack(first).mean(0))
    }
  }

  /** The work of one branch. @param other draws the last steps of a branch that only begins like the others */
  #branch(other: (() => number) | undefined): Tensor[] {
    const steps = this.#steps
    const before = steps.values.length
    steps.take(1 + steps.below(4))
    if (this.#depth < 2 && steps.random() < 0.25) this.#fork()
    if (other) {
      const last = steps.values.at(-1)!
      steps.values.push(other() < 0.5 ? last.gelu() : last.mul(0.5))
      if (other() < 0.5) steps.values.push(last.add(other()))
    }
    const made = steps.values.slice(before)
    const result = made.at(-1) ?? steps.any()
    const rare = steps.random()
    if (rare < 0.08) return [steps.any()]
    if (rare < 0.16) return [steps.transposed(steps.any())]
    if (rare < 0.24) return [result, result]
    if (rare < 0.3) return [noGrad(() => result.mul(2))]
    return rare < 0.5 && made.length > 1 ? [result, made[0]!] : [result]
  }
}
