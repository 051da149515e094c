import { CounterRandom } from '../../../kernels/random/counterRandom.ts'
import { Purpose } from '../../data/random.ts'
import { type Objective, type Scheme, stepsAt } from '../../schemes/index.ts'
import type { Settings } from '../../settings.ts'

/** The work of a training run, counted in closed form. */
export interface Work {
  miniBatches: number
  optimizerSteps: number
  /** Images that the mini-batches hold, each time they are read. */
  images: number
  /** Floating-point operations of forward and backward passes; evaluations and optimizer are left out. */
  flops: number
}

/** The parts of a run that determine its work. */
export interface WorkQuestion {
  settings: Settings
  scheme: Scheme
  /** Images of the training split of the data set, those held out included. */
  images: number
  /** Floating-point operations of one image, forward and backward, for an objective. */
  flopsOf: (objective: Objective) => number
}

/** Returns the sizes of the mini-batches of an epoch, as the loader of a run makes them. */
export function batchSizes({ batchSize, validation, trainImages }: Settings, images: number): number[] {
  const learned = images - Math.round(images * validation)
  const used = Math.min(learned, trainImages ?? learned)
  const whole = Math.floor(used / batchSize)
  const rest = used - whole * batchSize
  // A last, smaller batch is dropped where the training images fill more than one.
  return [...Array(whole).fill(batchSize), ...(rest > 0 && learned <= batchSize ? [rest] : [])]
}

/** Counts the work of a whole run; random choices of the scheme are made as the run makes them. */
export function workOf(question: WorkQuestion): Work {
  const { settings, scheme } = question
  const all = settings.epochs * batchSizes(settings, question.images).length * scheme.passes.length
  return count(question, Math.min(all, settings.maxSteps ?? all), () => false)
}

/** Finds the number of mini-batches whose work comes nearest to a target. The settings' own length sets the pace of the scheme. */
export function miniBatchesFor(question: WorkQuestion, what: 'flops' | 'optimizerSteps', target: number): number {
  const before: Work[] = []
  const found = count(question, Number.POSITIVE_INFINITY, (work) => {
    before[0] = before[1] ?? work
    before[1] = { ...work }
    return work[what] >= target
  })
  const last = before[0]!
  const nearer = target - last[what] < found[what] - target ? last : found
  return Math.max(1, nearer.miniBatches)
}

function count(question: WorkQuestion, miniBatches: number, isEnough: (work: Work) => boolean): Work {
  const { settings, scheme, images, flopsOf } = question
  const sizes = batchSizes(settings, images)
  const known = new Map<Objective, number>()
  const cost = (objective: Objective) => {
    if (!known.has(objective)) known.set(objective, flopsOf(objective))
    return known.get(objective)!
  }
  const planned = settings.epochs * sizes.length * scheme.passes.length
  const total = Math.min(planned, settings.maxSteps ?? planned)
  const work: Work = { miniBatches: 0, optimizerSteps: 0, images: 0, flops: 0 }
  if (sizes.length === 0) return work
  while (work.miniBatches < miniBatches) {
    const pass = Math.floor(work.miniBatches / sizes.length) % scheme.passes.length
    const size = sizes[work.miniBatches % sizes.length]!
    const place = () => ({
      step: work.miniBatches,
      total,
      random: new CounterRandom(settings.seed, [work.optimizerSteps, 0, Purpose.scheme]),
    })
    const objectives = stepsAt(scheme, pass, place)
    work.miniBatches++
    work.optimizerSteps += objectives.length
    work.images += size
    work.flops += size * objectives.reduce((sum, objective) => sum + cost(objective), 0)
    if (isEnough(work)) break
  }
  return work
}
