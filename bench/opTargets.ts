import { UserError } from '../engine/index.ts'
import { expectedOutput } from './expected.ts'
import { MOST_NUMBERS } from './limits.ts'
import { operandsOf } from './operands.ts'
import { prepareOurs } from './ours.ts'
import { checkComputed } from './outputs.ts'
import { SMALL_WORKLOADS } from './smallWorkloads.ts'
import { knownDifference } from './statistics.ts'
import { type Target, within } from './target.ts'
import { costOf, shapeOf, standardWorkloads, type Workload } from './workloads.ts'

/**
 * Makes targets for ops and small training steps, at the shapes at which peers are compared.
 * @param quick takes shapes that need no time
 */
export function opTargets(software: boolean, quick = false): Target[] {
  return (quick ? SMALL_WORKLOADS : standardWorkloads(software)).flatMap((w) => (w.kind === 'modelStep' ? [] : [opTarget(w)]))
}

/** Makes the target of a workload, run by the engine's ops. */
export function opTarget(w: Workload): Target {
  const shape = shapeOf(w)
  return {
    group: 'ops',
    name: w.kind,
    family: w.kind.endsWith('Step') ? 'steps' : 'ops',
    variant: w.kind.endsWith('Step') ? 'step' : 'forward',
    shape,
    ...costOf(w),
    single: false,
    unit: 'vector',
    prepare(device) {
      const operands = operandsOf(w)
      const running = prepareOurs(device, w, operands)
      const what = `${w.kind} ${shape}`
      let expected: Float64Array | undefined
      let afterSteps: (() => Promise<void>) | undefined
      const compare = (out: ArrayLike<number>) => {
        expected ??= expectedOutput(w, operands)!
        return within(knownDifference(out, expected), 1e-5, what)
      }
      return {
        ...running,
        async check() {
          const { training } = running
          if (!training) return compare((await running.values()).out!)
          // The check of the gradient leaves rounded parameters, and that of replays the ones that it found.
          const difference = await training.checkGradient(what)
          afterSteps = await training.checkReplay(what)
          return difference
        },
        async confirm(values) {
          checkComputed(values)
          if (!running.training) compare(values[0]!)
          await afterSteps?.()
        },
      }
    },
  }
}

/** The rule by which the `--shape` of an op is read. */
interface Shape {
  /** The sizes and their order, as a message shows them. */
  takes: string
  make(sizes: number[]): Workload
  /** Number of elements of the largest operand or result; default the product of all sizes. */
  largest?(sizes: number[]): number
}

/** The shape of each op that takes `--shape`. */
const SHAPES: Partial<Record<Workload['kind'], Shape>> = {
  matmul: {
    takes: 'MxKxN or MxKxNxBATCH',
    make: ([m, k, n, batch = 1]) => ({ kind: 'matmul', form: 'NN', batch, m: m!, k: k!, n: n! }),
    largest: ([m, k, n, batch = 1]) => batch * Math.max(m! * k!, k! * n!, m! * n!),
  },
  softmax: { takes: 'ROWSxN', make: ([rows, n]) => ({ kind: 'softmax', rows: rows!, n: n! }) },
  layerNorm: { takes: 'ROWSxN', make: ([rows, n]) => ({ kind: 'layerNorm', rows: rows!, n: n! }) },
  attention: {
    takes: 'BxHxTxD',
    make: ([batch, heads, tokens, width]) => ({
      kind: 'attention',
      batch: batch!,
      heads: heads!,
      tokens: tokens!,
      width: width!,
    }),
  },
  conv2d: {
    takes: 'BxCxSIZE',
    make: ([batch, channels, size]) => ({ kind: 'conv2d', batch: batch!, channels: channels!, size: size! }),
    largest: ([batch, channels, size]) => Math.max(batch! * channels! * size! ** 2, 9 * channels! ** 2),
  },
  add: { takes: 'N', make: ([n]) => ({ kind: 'add', n: n! }) },
}

/**
 * Makes the target of an op at the shape that `--shape` gives.
 * @throws UserError for an unknown op, and for a shape that the op does not take
 */
export function shapedTarget(name: string, shape: string): Target {
  const op = SHAPES[name.replace(/^ops\//, '') as Workload['kind']]
  if (!op) throw new UserError(`--shape goes with ops of these names: ${Object.keys(SHAPES).join(', ')}; not with "${name}"`)
  const sizes = shape.split('x').map(Number)
  const counts = op.takes.split(' or ').map((form) => form.split('x').length)
  const whole = sizes.every((size) => Number.isInteger(size) && size >= 1 && size < 2 ** 31)
  if (!whole || !counts.includes(sizes.length)) throw new UserError(`--shape ${shape}: ${name} takes ${op.takes}`)
  const numbers = op.largest?.(sizes) ?? sizes.reduce((product, size) => product * size, 1)
  if (numbers > MOST_NUMBERS) {
    throw new UserError(`--shape ${shape}: an operand of ${numbers} numbers is more than ${MOST_NUMBERS}; take smaller sizes`)
  }
  return opTarget(op.make(sizes))
}
