import { countFlops, countParameters } from '../../model/index.ts'
import { violations } from '../evaluate.ts'
import type { RunFolder } from '../run/folder.ts'
import type { RunData } from '../run/loaders.ts'
import type { Trainer } from '../run/trainer.ts'
import { reportCommandLine } from '../study/report/commands.ts'
import { printable, printJson } from './printable.ts'
import { compact, duration, percent, table } from './table.ts'

/** Prints the final table, or the same as JSON, on stdout. */
export function report(trainer: Trainer, data: RunData, folder: RunFolder, json: boolean): void {
  const { config } = trainer.parts.model
  const last = trainer.history.at(-1)!
  const prefixes = last.losses.map((loss, i) => ({
    branches: i + 1,
    loss,
    accuracy: last.accuracies[i]!,
    parameters: countParameters(config, { branches: i + 1 }).total,
    flops: countFlops(config, { branches: i + 1 }).forward,
  }))
  const seconds = trainer.state().seconds
  if (json) {
    const { settings } = trainer.parts
    const { path, checkpoint, model } = folder
    const result = {
      settings,
      config,
      split: data.split,
      images: last.images,
      prefixes,
      violations: violations(last.losses),
      seconds,
    }
    printJson({ ...result, folder: path, checkpoint, model })
    return
  }
  const rows = prefixes.map((p) => [
    String(p.branches),
    p.loss.toFixed(4),
    percent(p.accuracy),
    compact(p.parameters),
    compact(p.flops),
  ])
  console.log(table(['branches', 'loss', 'accuracy', 'parameters', 'FLOPs/image'], rows))
  console.log(
    `on ${last.images} ${data.split} images; L_k > L_(k-1) ${violations(last.losses)} times; trained in ${duration(seconds)}; model: ${printable(folder.model)}`,
  )
  console.log(`learning curves as a page: ${printable(reportCommandLine([folder.path]))}`)
}
