import { zeroGrad } from '../../engine/autograd/backward.ts'
import { DeviceStore } from '../../engine/autotune/store.ts'
import { capture, type Device, randn, scope, tensor } from '../../engine/index.ts'
import { MODES, type Mode, type Model } from '../../model/index.ts'
import { makeScheme, type Scheme } from '../schemes.ts'

/** Rounds in which all modes are timed in turn, at least; more while they take less than the budget. */
const ROUNDS = 3
const BUDGET_MS = 300

/** What the modes are compared on. */
export interface ModeQuestion {
  device: Device
  model: Model
  scheme: Scheme['name']
  /** Images of a batch. */
  batch: number
}

/**
 * The mode in which a training step of the model, forward and backward, is fastest on its device, by measurement: once for each
 * device, model, scheme and batch size, then from memory. Random state, parameters and optimizer are left as they are.
 * @returns the mode, and the milliseconds of each where they were measured just now
 */
export async function fastestMode(question: ModeQuestion): Promise<{ mode: Mode; measured?: Record<Mode, number> }> {
  const { device, model, scheme, batch } = question
  if (model.branches.length < 2) return { mode: 'serial' }
  const store = await DeviceStore.open(device.summary)
  const how = `${model.precision}${model.recomputes ? ' recompute' : ''}${model.coalesces ? ` by ${model.coalesces}` : ''}`
  const key = `mode ${scheme} ${how} batch ${batch} ${JSON.stringify(model.config)}`
  const known = store.get(key)
  if (MODES.includes(known as Mode)) return { mode: known as Mode }
  const { counter } = device.random
  const measured = await timeModes(question)
  device.random.counter = counter
  const mode = MODES.reduce((best, one) => (measured[one] < measured[best] ? one : best))
  store.set(key, mode)
  // Without a place to keep it, it is measured again next time.
  await store.save().catch(() => {})
  return { mode, measured }
}

/** Milliseconds of a forward and backward pass in each mode, the least of several. */
async function timeModes({ device, model, scheme, batch }: ModeQuestion): Promise<Record<Mode, number>> {
  const { channels, imageSize, classes } = model.config
  const images = randn([batch, channels, imageSize, imageSize], { device })
  const labels = tensor(
    Int32Array.from({ length: batch }, (_, i) => i % classes),
    { device },
  )
  const candidates = MODES.map((mode) => {
    // The last step of a scheme runs all branches.
    const objective = makeScheme(scheme, model.branches.length, { mode }).passes.at(-1)!.at(-1)!
    const run = capture(() =>
      scope(() => {
        const { objective: total, losses } = objective.loss(model, { images, labels, share: 1 })
        total.backward()
        return losses
      }),
    )
    return { mode, run, least: Number.POSITIVE_INFINITY }
  })
  const parameters = model.parameters()
  for (const { run } of candidates) {
    run().dispose()
    // Only now: gradients that are gone when the recording ends would not be computed at all. Every run finds none, as it did then.
    zeroGrad(parameters)
  }
  await device.synchronize()
  const start = performance.now()
  for (let round = 0; round < ROUNDS || performance.now() - start < BUDGET_MS; round++) {
    for (const candidate of candidates) {
      const before = performance.now()
      candidate.run().dispose()
      await device.synchronize()
      candidate.least = Math.min(candidate.least, performance.now() - before)
      zeroGrad(parameters)
    }
    if (performance.now() - start > 4 * BUDGET_MS) break
  }
  for (const { run } of candidates) run.dispose()
  images.dispose()
  labels.dispose()
  return Object.fromEntries(candidates.map(({ mode, least }) => [mode, least])) as Record<Mode, number>
}
