import { join } from 'node:path'
import { files } from '#platform'
import { requestDevice } from '../../../engine/index.ts'
import { countParameters, type Mode } from '../../../model/index.ts'
import { loadDatasetOf } from '../../run/data.ts'
import type { HeldFolder } from '../../run/folder.ts'
import { FORMAT } from '../../run/format.ts'
import { type RunRecord, ranOn, writeRunRecord } from '../../run/record.ts'
import type { RunHooks } from '../../run/runWriter.ts'
import { writeSettings } from '../../run/settingsFile.ts'
import { modelConfigOf, type Settings } from '../../settings.ts'
import { expand } from '../expand/expand.ts'
import { classGroups, classTasks, limited, permutedTasks, rotatedTasks, type Task, type TaskSource } from '../expand/splits.ts'
import { type ExpansionRun, type TrainedTask, trainBase } from '../expand/train.ts'
import { BUILD } from '../plan/build.ts'
import type { Procedure } from '../plan/define.ts'
import { mean } from '../statistics/index.ts'
import { isDivergence } from './divergence.ts'
import type { RunJob } from './job.ts'

type Expansion = Extract<Procedure, { name: 'expand' }>

/** Makes the tasks of an expansion. */
function tasksOf({ split = 'classes', tasks = 2 }: Expansion, source: TaskSource, settings: Settings): Task[] {
  const { seed } = settings
  const made = {
    classes: () => classTasks(source, classGroups(source.classes, tasks, { seed })),
    permuted: () => permutedTasks(source, tasks, seed),
    rotated: () => rotatedTasks(source, tasks),
  }
  return made[split]().map((task) => limited(task, settings))
}

/**
 * Trains a base model, has it learn the other tasks in one way, and writes expansion.json and run.json. Each of these trainings
 * is short, so a run that is asked to stop saves nothing, and begins anew later, with the same bits.
 * @returns whether it came to the end
 */
export async function expansionRun(
  { key, arm, settings, adapter }: RunJob,
  procedure: Expansion,
  { folder }: HeldFolder,
  hooks: RunHooks,
): Promise<boolean> {
  const dataset = await loadDatasetOf(settings)
  const tasks = tasksOf(procedure, dataset, settings)
  const { channels, height, width, mean: average, std } = dataset
  const stopped = new Error('the expansion was interrupted')
  const began = performance.now()
  const device = await requestDevice({ adapter })
  /** The finished trainings. */
  const done: TrainedTask[] = []
  const total = (name: 'optimizerSteps' | 'images' | 'flops') => done.reduce((sum, task) => sum + task[name], 0)
  const write = (found: Pick<RunRecord, 'parameters' | 'measures' | 'diverged'>) => {
    const { commit, clean, sources } = BUILD
    return writeRunRecord(folder.record, {
      ...{ format: FORMAT, key, arm, seed: settings.seed, commit, clean, sources },
      ...ranOn(device),
      coldSeconds: null,
      warmSeconds: null,
      optimizerSteps: total('optimizerSteps'),
      images: total('images'),
      trainingFlops: total('flops'),
      wallSeconds: (performance.now() - began) / 1000,
      ...found,
      final: {},
    })
  }
  try {
    const mode: Mode = settings.mode === 'auto' || settings.mode === 'devices' ? 'serial' : settings.mode
    const run: ExpansionRun = { device, shape: { channels, height, width, mean: average, std }, settings, mode }
    let miniBatches = 0
    const step = (label: string) => {
      if (hooks.shouldStop()) throw stopped
      hooks.onProgress(miniBatches++, label)
    }
    const { base, trained } = await trainBase(run, tasks[0]!, () => step('the base'))
    done.push(trained)
    const { way, add, freeze, softmax, replay, split = 'classes' } = procedure
    const options = { ...run, tasks, base, add, freeze, softmax, replay, arms: [way] }
    const { results, models } = await expand({ ...options, onProgress: (_, what) => step(what) })
    const { stages } = results.arms[0]!
    const last = stages.at(-1)!
    done.push(...stages)
    const measures = {
      accuracy: mean(last.accuracies),
      oldAccuracy: last.old,
      // This uses the branches of before alone, for images that are known to be of an old task.
      oldAtPrefix: mean(last.atPrefix.slice(0, -1)),
      newAccuracy: last.new,
      forgetting: last.forgetting,
      baseAccuracy: results.base.accuracy,
    }
    await writeSettings(folder.settings, { settings, config: models.get(way)!.config, dataset })
    const written = { format: FORMAT, dataset: dataset.name, split, ...results }
    await files.write(join(folder.path, 'expansion.json'), `${JSON.stringify(written, null, 2)}\n`)
    await write({ parameters: last.parameters, measures })
    return true
  } catch (error) {
    if (error === stopped) return false
    if (!isDivergence(error)) throw error
    const config = modelConfigOf(settings, { ...dataset, classes: tasks[0]!.classes })
    await write({ parameters: countParameters(config).total, diverged: error.message })
    return true
  } finally {
    device.destroy()
  }
}
