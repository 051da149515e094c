import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { files } from '../../engine/index.ts'
import { shippedResults } from '../study/plan/source.ts'
import { makeReport, writeReport } from '../study/report/index.ts'
import { STUDIES } from '../study/results/folder.ts'
import { ranStudyNamed } from '../study/results/status.ts'
import { checkDistinctPaths } from './distinctPaths.ts'
import { makeCommand } from './options.ts'
import { printable, printJson, say } from './printable.ts'

interface ReportFlags {
  out?: string
  data?: string
  json?: boolean
}

/** Names of files in the folders of runs and studies, which a report must not overwrite. */
const KEPT = [
  'settings.json',
  'metrics.jsonl',
  'run.json',
  'attention.json',
  'registered.json',
  'results.jsonl',
  'compression.json',
  'expansion.json',
]

/** Makes the command `paraformer report`. */
export function reportCommand(): Command {
  return makeCommand('report')
    .description(
      'one HTML file of runs or studies: claims with verdicts, learning curves, accuracy over cost; opens without a server',
    )
    .argument(
      '<folders...>',
      'folders of runs or studies, or names of studies that were run here or whose results come with the package',
    )
    .option('--out <file>', 'the HTML file (default: report.html in the folder, or here for several folders or a name)')
    .option('--data <folder>', 'write what is drawn as CSV and JSONL there, too')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Examples:
  paraformer report runs/mnist-paraformer-prefixSum
  paraformer report runs/mnist-paraformer-prefixSum runs/mnist-vit-joint --out both.html --data data
  paraformer report runs/studies/schemes-tiny
  paraformer report latency`,
    )
    .action(async (names: string[], flags: ReportFlags) => {
      const folders = await Promise.all(names.map(folderNamed))
      const own = folders.length === 1 && folders[0] === names[0]
      const path = flags.out ?? (own ? join(folders[0]!, 'report.html') : 'report.html')
      const kept = folders.flatMap((folder) => KEPT.map((name) => ['the input', join(folder, name)] as const))
      const report = await makeReport(folders)
      await checkDistinctPaths([['--out', path]], kept)
      await files.checkWritable(path)
      await writeReport(report, path, flags.data)
      const { notes, figures } = report
      if (flags.json) printJson({ report: path, figures, notes, data: flags.data ?? null })
      else {
        for (const note of notes) say(note)
        console.log(`${figures} figures: ${printable(path)}`)
      }
    })
}

/** Returns the folder that a word names: its own, that of a study which was run here, or that of results which come with the package. */
async function folderNamed(word: string): Promise<string> {
  if (existsSync(word)) return word
  return (await ranStudyNamed(word, STUDIES)) ?? (await shippedResults(word)) ?? word
}
