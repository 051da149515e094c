import { zeroGrad } from '../../engine/autograd/backward.ts'
import { DeviceStore } from '../../engine/autotune/store.ts'
import { capture, type Device, randn, scope } from '../../engine/index.ts'
import { branchShape, MODES, type Mode, type Model, ParaFormer } from '../../model/index.ts'
import { inputShape, labelTensor } from '../modelInput.ts'
import { instantiate, lastObjective, type SchemeDefinition } from '../schemes/index.ts'

/** Smallest number of rounds in which all modes are timed in turn. */
const MIN_ROUNDS = 3
/** Milliseconds that are filled with further rounds. */
const BUDGET_MS = 300

/** The work on which the modes are compared. */
export interface ModeQuestion {
  device: Device
  model: Model
  scheme: SchemeDefinition
  /** Images in a batch. */
  batch: number
}

/**
 * Finds the mode in which the forward and backward pass of a training step is fastest. It is measured once for each device, model,
 * scheme and batch size, and stored. Random state, parameters and optimizer are left as they are.
 * @returns the mode, and the milliseconds of each if they were measured just now
 */
export async function fastestMode(question: ModeQuestion): Promise<{ mode: Mode; measured?: Record<Mode, number> }> {
  const { device, model, scheme, batch } = question
  if (branchShape(model.config).branches < 2) return { mode: 'serial' }
  const store = await DeviceStore.open(device.summary)
  const how = `${model.precision}${model.recomputes ? ' recompute' : ''}${model.coalesces ? ` by ${model.coalesces}` : ''}`
  const own = model instanceof ParaFormer && model.constructor !== ParaFormer ? ` of ${model.constructor.name}` : ''
  const key = `mode ${scheme.name}${own} ${how} batch ${batch} ${JSON.stringify(model.config)}`
  const known = store.get(key)
  if (MODES.includes(known as Mode)) return { mode: known as Mode }
  const { counter } = device.random
  const measured = await timeModes(question)
  device.random.counter = counter
  const mode = MODES.reduce((best, next) => (measured[next] < measured[best] ? next : best))
  store.set(key, mode)
  // A mode that cannot be stored is measured again next time.
  await store.save().catch(() => {})
  return { mode, measured }
}

/** Measures the milliseconds of a forward and backward pass in each mode, the minimum of several. */
async function timeModes({ device, model, scheme, batch }: ModeQuestion): Promise<Record<Mode, number>> {
  const { classes } = model.config
  const images = randn(inputShape(model.config, batch), { device })
  const labels = labelTensor(
    model,
    Int32Array.from({ length: batch }, (_, i) => i % classes),
  )
  const candidates = MODES.map((mode) => {
    // The last step of a scheme runs all branches.
    const objective = lastObjective(instantiate(scheme, branchShape(model.config).branches, { mode }))
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
    // Gradients that are cleared inside the capture would not be computed at all. Every replay finds none, as the capture did.
    zeroGrad(parameters)
  }
  await device.synchronize()
  const start = performance.now()
  for (let round = 0; round < MIN_ROUNDS || performance.now() - start < BUDGET_MS; round++) {
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
