import { zeroGrad } from '../../engine/autograd/backward.ts'
import { autocast, capture, type Device, Profiler, randn, scope, type Tensor } from '../../engine/index.ts'
import type { ParaFormer, ViT } from '../../model/index.ts'

/** Times of the branches of a model, and the clock that told them. */
export interface BranchTimes {
  /** Milliseconds of forward and backward of each branch. */
  milliseconds: number[]
  /** `device`: timestamps around its dispatches. `host`: the host's clock around a replay, of each branch alone. */
  clock: 'device' | 'host'
}

/** Smallest number of rounds in which all branches are timed in turn. */
const MIN_ROUNDS = 2
/** Milliseconds that are filled with further rounds. */
const BUDGET_MS = 200

/**
 * Measures what forward and backward of each branch takes on a batch of random tokens: the minimum of several rounds, in which each
 * runs alone. Random state, parameters and their gradients are left as they are.
 * @param batch images in a batch
 */
export async function timeBranches(model: ParaFormer | ViT, batch: number): Promise<BranchTimes> {
  const { device } = model
  const { counter } = device.random
  const { imageSize, patchSize, dim, pool } = model.config
  const x = randn([batch, (imageSize / patchSize) ** 2 + 1, dim], { device, requiresGrad: true }) // [B, T + 1, D]
  device.random.counter = counter
  const parameters = [x, ...model.parameters()]
  const runs = model.branches.map((branch) => {
    const forward = () => branch.forward(x, { clsOnly: pool === 'cls', recomputes: model.recomputes })
    return capture(() =>
      scope(() => {
        const sum: Tensor = (model.precision === 'mixed' ? autocast('float16', forward) : forward()).sum()
        sum.backward()
        return sum
      }),
    )
  })
  const profiler = device.gpu.features.has('timestamp-query') ? new Profiler(device.gpu) : undefined
  const least = runs.map(() => Number.POSITIVE_INFINITY)
  const began = performance.now()
  // The first round compiles.
  for (let round = 0; round <= MIN_ROUNDS || performance.now() - began < BUDGET_MS; round++) {
    for (const [i, run] of runs.entries()) {
      const took = await timeOf(device, run, profiler)
      zeroGrad(parameters)
      if (round > 0) least[i] = Math.min(least[i]!, took)
    }
  }
  for (const run of runs) run.dispose()
  profiler?.dispose()
  x.dispose()
  return { milliseconds: least, clock: profiler ? 'device' : 'host' }
}

/** Runs once and waits. @returns milliseconds, by the device's clock if there is a profiler */
async function timeOf(device: Device, run: () => Tensor, profiler: Profiler | undefined): Promise<number> {
  await device.synchronize()
  if (profiler) device.profiler = profiler
  try {
    const before = performance.now()
    run().dispose()
    await device.synchronize()
    const host = performance.now() - before
    if (!profiler) return host
    return (await profiler.collect()).reduce((sum, { begin, end }) => sum + (end - begin) / 1e6, 0)
  } finally {
    if (profiler) device.profiler = undefined
  }
}
