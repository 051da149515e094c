// `npm run bench:browser` runs `paraformer bench` in headless Chromium, on Chromium's own WebGPU.
import { CommanderError } from 'commander'
import { reason, UserError } from '../../engine/index.ts'
import { checkWritable, writeFile } from '../../engine/platform/files.ts'
import { count, makeCommand } from '../../train/cli/options.ts'
import { Progress } from '../../train/cli/progress.ts'
import { htmlReport } from '../html.ts'
import { MAX_BATCH, MOST_TIME } from '../limits.ts'
import { compare, textReport } from '../report.ts'
import type { BenchReport } from '../runBench.ts'
import type { Selection } from '../select.ts'
import { Chromium, call } from './chromium.ts'

interface Flags extends Omit<Selection, 'names'> {
  quick?: boolean
  time?: number
  json?: boolean
  html?: string
}

const command = makeCommand('bench:browser')
  .description('`paraformer bench` in headless Chromium; see `paraformer bench --help`')
  .argument('[names...]', 'what to time: groups (kernels, ops, layers, models) or names of theirs; default everything')
  .option('--variant <name>', 'only this variant of kernels')
  .option('--filter <regexp>', 'only targets whose `group/name/variant shape` matches')
  .option('--shape <sizes>', 'another shape of the named ops')
  .option('--batch <n>', 'images of layers and models', count(MAX_BATCH))
  .option('--quick', 'in 10 seconds: of each name the smallest shape')
  .option('--time <ms>', 'how long to time each', count(MOST_TIME))
  .option('--json', 'print JSON')
  .option('--html <file>', 'also write a page with a roofline plot')
  .action(main)

try {
  await command.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) {
    console.error(`bench:browser: ${reason(error)}`)
    process.exitCode = error instanceof UserError ? 2 : 1
  }
}

async function main(names: string[], { quick = false, time, json, html, ...rest }: Flags): Promise<void> {
  if (html !== undefined) await checkWritable(html)
  const browser = await Chromium.start()
  let progress: Progress | undefined
  try {
    const page = await browser.open((what) => {
      const { done, of, id } = what as { done: number; of: number; id: string }
      progress ??= new Progress({ total: of })
      progress.update(done, id)
    })
    process.stderr.write(`Chromium ${browser.version}\n`)
    const report = compare(await call<BenchReport>(page, 'bench', { ...rest, names }, quick, time), new Map())
    console.log(json ? JSON.stringify(report, null, 2) : textReport(report))
    if (html !== undefined) await writeFile(html, htmlReport(report))
    if (report.failures.length > 0) process.exitCode = 1
  } finally {
    progress?.stop()
    await browser.close()
  }
}
