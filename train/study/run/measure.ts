import { join } from 'node:path'
import { files } from '#platform'
import type { ParaFormer, ViT } from '../../../model/index.ts'
import type { RunFolder } from '../../run/folder.ts'
import { FORMAT } from '../../run/format.ts'
import { type RunData, testLoader } from '../../run/loaders.ts'
import type { Trainer } from '../../run/trainer.ts'
import { compress } from '../compress/compress.ts'
import { measureForward } from '../compress/latency.ts'
import type { Measures, Procedure } from '../plan/define.ts'
import { measurePipeline } from './pipelineTimes.ts'

/** A procedure that measures a trained model. */
export type ModelProcedure = Exclude<Procedure, { name: 'expand' }>

/**
 * Measures a trained model as a procedure says. `compress` also writes compression.json into the folder of the run.
 * @param onProgress is called with a text for people; an error that it throws ends the measurement
 */
export async function measureModel(
  procedure: ModelProcedure,
  trainer: Trainer,
  data: RunData,
  folder: RunFolder,
  onProgress: (label: string) => void,
): Promise<Measures> {
  const { model, settings, mode = 'serial', distributed } = trainer.parts
  if (procedure.name === 'latency') {
    const { batches = [1, 64], pipeline } = procedure
    if (pipeline) return measurePipeline(model as ViT, pipeline, { batches, trainBatch: settings.batchSize }, onProgress)
    const latency = await measureForward(model, batches, distributed ?? mode, () => onProgress('measuring latency'))
    return Object.fromEntries(batches.map((B) => [`forwardSeconds${B}`, latency[B]! / 1000]))
  }
  const test = testLoader(data, settings)
  try {
    const found = await compress(model as ParaFormer, {
      validation: data.evaluation,
      test,
      mode,
      onProgress: (_, what) => onProgress(what),
    })
    const about = { format: FORMAT, model: folder.model, dataset: data.dataset.name }
    await files.write(join(folder.path, 'compression.json'), `${JSON.stringify({ ...about, ...found }, null, 2)}\n`)
    const entries = found.within.flatMap(({ points, prefix }) => {
      const { parameters, test } = found.prefixes[prefix - 1]!
      const name = points === 0.5 ? 'HalfPoint' : 'OnePoint'
      return [
        [`branchesWithin${name}`, prefix],
        [`parametersWithin${name}`, parameters],
        [`testAccuracyWithin${name}`, test],
      ] as const
    })
    return Object.fromEntries(entries)
  } finally {
    await test.close()
  }
}
