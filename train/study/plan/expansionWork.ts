import { branchShape, type ModelConfig, type ParaFormerConfig } from '../../../model/index.ts'
import { instantiate, type SchemeDefinition, schemeOf, trainingFlops } from '../../schemes/index.ts'
import { modelConfigOf, type Settings } from '../../settings.ts'
import { oldShare, stageScheme } from '../expand/expand.ts'
import { expandedConfig } from '../expand/model.ts'
import { classGroups } from '../expand/splits.ts'
import type { StudyData } from './data.ts'
import type { Procedure } from './define.ts'
import { type Work, workOf } from './work.ts'

type Expansion = Extract<Procedure, { name: 'expand' }>

/** Counts the work of an expansion: the training of the base on the first task, and that of one way on each of the others. */
export function expansionWork(
  { way, replay = 0.1, add = 1, freeze = 'branches', softmax, ...procedure }: Expansion,
  settings: Settings,
  data: StudyData,
): Work {
  const tasks = tasksOf(procedure, settings, data)
  let config = modelConfigOf(settings, { ...data, classes: tasks[0]!.classes }) as ParaFormerConfig
  const done = [phase(schemeOf(settings.scheme), config, tasks[0]!.images, settings)]
  for (let t = 1; t < tasks.length; t++) {
    const { classes, images } = tasks[t]!
    const { branches } = config
    const scheme = stageScheme(way, settings, { branches, classes: config.classes, freeze, softmax })
    const share = oldShare(way, replay)
    const old = tasks.slice(0, t).reduce((sum, task) => sum + Math.round(task.images * share), 0)
    config = expandedConfig(config, add, classes)
    done.push(phase(scheme, config, old + images, settings))
  }
  const total = (name: keyof Work) => done.reduce((sum, work) => sum + work[name], 0)
  return {
    miniBatches: total('miniBatches'),
    optimizerSteps: total('optimizerSteps'),
    images: total('images'),
    flops: total('flops'),
  }
}

/** Returns the number of training images of each task, and the number of classes of the task and those before it. */
function tasksOf(
  { split = 'classes', tasks = 2 }: Pick<Expansion, 'split' | 'tasks'>,
  { seed, trainImages }: Settings,
  { classes, imagesOfClass, trainImages: all }: StudyData,
): { images: number; classes: number }[] {
  const kept = (images: number) => Math.min(images, trainImages ?? images)
  if (split !== 'classes') return Array.from({ length: tasks }, () => ({ images: kept(all), classes }))
  let known = 0
  return classGroups(classes, tasks, { seed }).map((group) => {
    known += group.length
    return { images: kept(group.reduce((sum, label) => sum + imagesOfClass[label]!, 0)), classes: known }
  })
}

function phase(definition: SchemeDefinition, config: ModelConfig, images: number, settings: Settings): Work {
  const { prefixWeights: weights, hinge } = settings
  const scheme = instantiate(definition, branchShape(config).branches, { weights, hinge })
  // The images of a task are limited before some are held out.
  const { trainImages, ...rest } = settings
  return workOf({ settings: rest, scheme, images, flopsOf: (objective) => trainingFlops(objective, config) })
}
