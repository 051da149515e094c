import type { ViT } from '../../model/index.ts'
import type { LabelledImages } from '../../train/data/microBatch.ts'
import type { SchemeName } from '../../train/index.ts'
import { Pipeline } from '../../train/pipeline/pipeline.ts'
import { type Candidate, MAX_NORM, type Pass, type Values, ZERO_LR } from './candidate.ts'
import { lastObjective } from './oneDevice.ts'
import type { Distribution, Several } from './workbench.ts'

/** Makes the candidate of the forward pass, or a training step, of a ParaFormer with its branches on several devices. */
export function distributedPass(
  { distributed, devices, mode }: Distribution,
  pass: Pass,
  { images, labels }: LabelledImages,
  scheme: SchemeName,
): Candidate {
  const { model, traffic } = distributed
  const branches = model.config.branches
  const B = labels.length
  const objective = lastObjective(scheme, branches)
  const infer = async (): Promise<Float32Array> => {
    const all = { branches, eachBranch: false }
    const [logits] = await distributed.infer(images, B, all, (input, outputs) => [model.forward(input, { outputs }).data()])
    return logits as Promise<Float32Array>
  }
  const step = () => distributed.updates({ images, labels }, [{ objective, lr: ZERO_LR }], { maxNorm: MAX_NORM })[0]!
  let kept: Values = new Map()
  const run = async (): Promise<Values> => {
    if (pass === 'forward') return new Map([['logits', await infer()]])
    const { losses, norm } = await step()
    return new Map([
      ['losses', Float32Array.from(losses)],
      ['norm', Float32Array.of(norm)],
    ])
  }
  const submit = async () => {
    const before = distributed.host
    kept = await run()
    return distributed.host - before
  }
  const wait = async () => {
    await Promise.all(devices.map((device) => device.synchronize()))
  }
  return {
    name: `${devices.length} devices, ${mode}`,
    architecture: 'paraformer',
    devices,
    submit,
    wait,
    async values(): Promise<Values> {
      // A step clears its gradients. `gradients` gives those of the sum of all branches, which is not the objective of prefixSum.
      if (pass === 'forward' || scheme === 'prefixSum') return run()
      const entries = await distributed.gradients({ images, labels }, branches, B)
      return new Map(Array.from(entries, ([name, { data }]) => [name, data as Float32Array]))
    },
    last: async () => kept,
    moved: () => traffic.between,
    dispose() {},
  }
}

/** Makes the candidate of the forward pass, or a training step, of a ViT in a pipeline over several devices. */
export function pipelinePass(
  vit: ViT,
  { state, devices }: Several,
  pass: Pass,
  { images, labels }: LabelledImages,
  microBatches: number,
): Candidate {
  const pipeline = new Pipeline(vit, state, devices, { images, labels, microBatches, train: pass === 'step' })
  let logits: readonly Float32Array[] = []
  const submit = async () => {
    if (pass === 'step') return (await pipeline.step(ZERO_LR)).host
    const { results, host } = await pipeline.forward()
    logits = results
    return host
  }
  const last = async (): Promise<Values> => {
    if (pass === 'step') return pipeline.gradients()
    return new Map([['logits', Float32Array.from(logits.flatMap((part) => [...part]))]])
  }
  return {
    name: `pipeline of ${devices.length}, ${microBatches} micro-batch${microBatches > 1 ? 'es' : ''}`,
    architecture: 'vit',
    devices,
    submit,
    wait: () => pipeline.synchronize(),
    async values(): Promise<Values> {
      await submit()
      return last()
    },
    last,
    moved: () => pipeline.moved,
    dispose: () => pipeline.dispose(),
  }
}
