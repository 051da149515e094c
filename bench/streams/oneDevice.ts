import { type CaptureStatistics, capture, type Device, noGrad, scope, type Tensor } from '../../engine/index.ts'
import type { Mode, ParaFormer, ViT } from '../../model/index.ts'
import {
  type AdamW,
  captureStep,
  type MicroBatch,
  makeScheme,
  optimizerStep,
  type SchemeName,
  type StepResult,
} from '../../train/index.ts'
import { gradientsOf } from '../../train/optim/gradients.ts'
import type { Objective } from '../../train/schemes/index.ts'
import { type Candidate, MAX_NORM, type Values, ZERO_LR } from './candidate.ts'

/** A model on one device and its optimizer. */
export interface Resident {
  model: ParaFormer | ViT
  optimizer: AdamW
}

/** A pass of a model, and the batch on the device that it runs on. */
interface Setup extends Resident {
  name: string
  mode: Mode
  /** Whether the pass is captured and replayed, or run op by op. */
  captured: boolean
  batch: MicroBatch
}

/** Makes the candidate of the forward pass of a model on one device, until its logits have reached the host. */
export function forwardPass({ name, model, mode, captured, batch }: Setup): Candidate {
  const { device } = batch.images
  const forward = () => noGrad(() => model.forward(batch.images, { mode }))
  const replay = captured ? capture(forward) : undefined
  let logits: Tensor | undefined
  let values: Float32Array | undefined
  const submit = () => {
    logits?.dispose()
    const start = performance.now()
    logits = replay ? replay() : scope(forward)
    device.flush()
    return performance.now() - start
  }
  const wait = async () => {
    values = (await logits!.data()) as Float32Array
  }
  const last = async (): Promise<Values> => new Map([['logits', values!]])
  return {
    name,
    architecture: model.config.architecture,
    devices: [device],
    submit,
    wait,
    async values() {
      submit()
      await wait()
      return last()
    },
    last,
    ...statisticsOf(device, replay, { submit, wait }),
    dispose() {
      logits?.dispose()
      replay?.dispose()
    },
  }
}

/** Makes the candidate of a training step of a model on one device: forward, backward and update of all parameters. */
export function trainingStep({ name, model, optimizer, mode, captured, batch }: Setup, scheme: SchemeName): Candidate {
  const { device } = batch.images
  const objective = lastObjective(scheme, model.branches.length, mode)
  const replay = captured ? captureStep(model, optimizer, objective, MAX_NORM) : undefined
  let result: StepResult | undefined
  const forget = () => {
    for (const t of [result?.losses, result?.norm, result?.predicted]) t?.dispose()
  }
  const submit = () => {
    forget()
    const start = performance.now()
    result = replay
      ? replay([batch], ZERO_LR)
      : scope(() => optimizerStep(model, optimizer, objective, [batch], ZERO_LR, MAX_NORM))
    device.flush()
    return performance.now() - start
  }
  const wait = () => device.synchronize()
  const last = async (): Promise<Values> => {
    const reads = [result!.losses.data(), result!.norm.data()] as Promise<Float32Array>[]
    const gradients = await gradientsOf(model.namedParameters())
    const [losses, norm] = await Promise.all(reads)
    return new Map([...gradients, ['losses', losses!], ['norm', norm!]])
  }
  return {
    name,
    architecture: model.config.architecture,
    devices: [device],
    submit,
    wait,
    async values() {
      submit()
      return last()
    },
    last,
    ...statisticsOf(device, replay, { submit, wait }),
    dispose() {
      forget()
      replay?.dispose()
    },
  }
}

/** Returns the objective of the last step of a scheme, which runs all branches. */
export function lastObjective(scheme: SchemeName, branches: number, mode?: Mode): Objective {
  return makeScheme(scheme, branches, mode ? { mode } : {})
    .passes.at(-1)!
    .at(-1)!
}

/**
 * Returns memory and longest chain of a run: those of the plan for a captured run, else the memory alone, by the pool's peak.
 */
function statisticsOf(
  device: Device,
  replay: { readonly statistics: readonly CaptureStatistics[] } | undefined,
  { submit, wait }: Pick<Candidate, 'submit' | 'wait'>,
): Pick<Candidate, 'memory' | 'chain'> {
  const statistics = () => replay!.statistics[0]!
  if (replay) {
    return {
      memory: async () => ({ bytes: statistics().bytes, unplanned: statistics().unplanned }),
      chain: () => statistics().chain,
    }
  }
  return {
    async memory() {
      device.resetPeakMemory()
      const before = device.memory.peakBytes
      await submit()
      await wait()
      return { bytes: device.memory.peakBytes - before }
    },
  }
}
