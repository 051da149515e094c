import { ParaFormer } from '../../model/index.ts'
import { AdamW } from '../../train/index.ts'
import type { Candidate, Pass } from './candidate.ts'
import { forwardPass, type Resident, trainingStep } from './oneDevice.ts'
import { loadBatch, type Models } from './workbench.ts'

/** The number of dispatches of a captured run, and of those that follow one another. */
export interface Path {
  name: string
  /** Number of all dispatches. It is the critical path where a barrier stands before each dispatch, as in Dawn. */
  dispatches: Record<Pass, number>
  /** Length of the longest chain of dependent dispatches. It is the critical path where independent dispatches overlap. */
  chain: Record<Pass, number>
}

/** Measures the critical paths of a ParaFormer of one branch, of the whole ParaFormer coalesced and serial, and of the ViT. */
export async function criticalPaths(models: Models, batch: number): Promise<Path[]> {
  const { paraformer, vit, sizes } = models
  const model = new ParaFormer({ ...sizes.paraformer, branches: 1 })
  const single: Resident = { model, optimizer: new AdamW(model.namedParameters()) }
  const { resident } = loadBatch(models, batch)
  const path = async (name: string, who: Resident, mode: 'serial' | 'coalesced'): Promise<Path> => {
    const setup = { ...who, name, mode, captured: true, batch: resident }
    const scheme = who.model.config.architecture === 'vit' ? 'joint' : sizes.scheme
    const [forward, step] = [await count(forwardPass(setup)), await count(trainingStep(setup, scheme))]
    return {
      name,
      dispatches: { forward: forward.dispatches, step: step.dispatches },
      chain: { forward: forward.chain, step: step.chain },
    }
  }
  try {
    return [
      await path('one branch alone', single, 'serial'),
      await path('coalesced', paraformer, 'coalesced'),
      await path('serial', paraformer, 'serial'),
      await path('ViT', vit, 'serial'),
    ]
  } finally {
    single.optimizer.dispose()
    model.dispose()
    for (const t of [resident.images, resident.labels]) t.dispose()
  }
}

/** Counts the dispatches of one run and of its longest chain. */
async function count(candidate: Candidate): Promise<{ dispatches: number; chain: number }> {
  const { counts } = candidate.devices[0]!
  try {
    await candidate.submit()
    await candidate.wait()
    const before = counts.dispatches
    await candidate.submit()
    await candidate.wait()
    return { dispatches: counts.dispatches - before, chain: candidate.chain!() }
  } finally {
    candidate.dispose()
  }
}
