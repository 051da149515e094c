// `npm run bench:peers` times other WebGPU libraries and ours in turn, on the same driver.
import { readFile } from 'node:fs/promises'
import { CommanderError } from 'commander'
import { reason, requestDevice, UserError } from '../../engine/index.ts'
import { adapterOption, count, makeCommand } from '../../train/cli/options.ts'
import { Progress } from '../../train/cli/progress.ts'
import { Chromium, call } from '../browser/chromium.ts'
import { runPageIn } from '../browser/runPage.ts'
import { budgetOf } from '../doBench.ts'
import { MOST_TIME } from '../limits.ts'
import { regularExpression } from '../select.ts'
import { shapeOf, standardWorkloads, type Workload } from '../workloads.ts'
import { PEERS } from './peers.ts'
import { type PeerReport, peerText } from './report.ts'
import { runChild } from './runChild.ts'
import { type RunTask, runPeer } from './runPeer.ts'
import { timeTorch } from './torch.ts'

interface Flags {
  peer?: string[]
  filter?: string
  quick?: boolean
  time?: number
  limit: number
  adapter?: string
  browser?: boolean
  json?: boolean
}

/** The place of the comparisons: Node or a browser. */
interface Place {
  name: string
  software: boolean
  runTask: RunTask
  close(): Promise<void>
}

const command = makeCommand('bench:peers')
  .description('time the same computations in other WebGPU libraries and in ours, in turn, on the same driver')
  .option('--peer <name...>', `only these, by name or a part of it: ${Object.keys(PEERS).join(', ')}, torch`)
  .option('--filter <regexp>', 'only workloads whose `name shape` matches')
  .option('--quick', 'only show that everything runs: one round of each')
  .option('--time <ms>', 'how long to time each side (default: 300 on a software device, else 200)', count(MOST_TIME))
  .option('--limit <s>', 'give a workload up after so many seconds', count(MOST_TIME / 1000), 180)
  .addOption(adapterOption())
  .option('--browser', "run in headless Chromium, on the browser's own WebGPU")
  .option('--json', 'print JSON')
  .action(main)

try {
  await command.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) {
    console.error(`bench:peers: ${reason(error)}`)
    process.exitCode = error instanceof UserError ? 2 : 1
  }
}

async function main(flags: Flags): Promise<void> {
  const asked = (name: string) => !flags.peer || flags.peer.some((part) => name.includes(part))
  const packages = Object.keys(PEERS).filter(asked)
  if (packages.length === 0 && !asked('torch')) throw new UserError(`no peer is called ${flags.peer?.join(', ')}; see --help`)
  const place = flags.browser ? await inBrowser() : await inNode(flags.adapter)
  try {
    const workloads = chosen(standardWorkloads(place.software), flags.filter)
    const report = await compareAll(packages, workloads, place, flags)
    if (asked('torch')) await addTorch(report, workloads, flags)
    console.log(flags.json ? JSON.stringify(report, null, 2) : peerText(report))
    if (report.failures.some(({ offered }) => offered)) process.exitCode = 1
  } finally {
    await place.close()
  }
}

async function compareAll(
  packages: readonly string[],
  workloads: Workload[],
  { name, software, runTask }: Place,
  { quick = false, time, limit, adapter }: Flags,
): Promise<PeerReport> {
  const budget = budgetOf(software, quick)
  const task = { adapter, workloads, budget: { ...budget, time: time ?? budget.time } }
  const report: PeerReport = {
    date: new Date().toISOString(),
    device: name,
    versions: await versions(),
    comparisons: [],
    failures: [],
  }
  const progress = new Progress({ total: packages.length * workloads.length })
  try {
    for (const [i, peer] of packages.entries()) {
      const { comparisons, failures } = await runPeer({ ...task, package: peer }, limit, runTask, (done, w) => {
        progress.update(i * workloads.length + done, w ? `${peer} ${titleOf(w)}` : peer)
      })
      report.comparisons.push(...comparisons)
      report.failures.push(...failures)
    }
  } finally {
    progress.stop()
  }
  return report
}

/** Adds PyTorch's times to a report, and what failed. */
async function addTorch(report: PeerReport, workloads: readonly Workload[], flags: Flags): Promise<void> {
  const { quick = false, time, limit, adapter } = flags
  const budget = budgetOf(true, quick)
  const progress = new Progress({ total: workloads.length })
  try {
    report.torch = await timeTorch(workloads, {
      openDevice: () => requestDevice({ adapter }),
      budget: { ...budget, time: time ?? budget.time },
      limit,
      onProgress: (done, w) => progress.update(done, `PyTorch ${titleOf(w)}`),
    })
  } finally {
    progress.stop()
  }
  if ('failures' in report.torch) report.failures.push(...report.torch.failures)
}

async function inNode(adapter: string | undefined): Promise<Place> {
  const device = await requestDevice({ adapter })
  const { software, name } = device.summary
  device.destroy()
  return { name, software, runTask: runChild, close: async () => {} }
}

async function inBrowser(): Promise<Place> {
  const browser = await Chromium.start()
  const page = await browser.open(() => {})
  const { name, software } = await call<{ name: string; software: boolean }>(page, 'describeDevice')
  await page.close()
  return {
    name: `${name} in Chromium ${browser.version}`,
    software,
    runTask: runPageIn(browser),
    close: () => browser.close(),
  }
}

function chosen(all: readonly Workload[], filter = ''): Workload[] {
  const pattern = regularExpression(filter)
  const found = all.filter((w) => pattern.test(titleOf(w)))
  if (found.length === 0) throw new UserError(`--filter ${filter} leaves nothing of ${all.map(titleOf).join(', ')}`)
  return found
}

function titleOf(w: Workload): string {
  return `${w.kind} ${shapeOf(w)}`
}

/** Reads the versions of the peers, as their package.json pins them. */
async function versions(): Promise<Record<string, string>> {
  const text = await readFile('bench/peers/package.json', 'utf8')
  return (JSON.parse(text) as { dependencies: Record<string, string> }).dependencies
}
