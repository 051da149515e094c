// `npm run bench:peers`: other WebGPU libraries and ours, in turn, on the same driver.
import { readFile } from 'node:fs/promises'
import { CommanderError } from 'commander'
import { reason, requestDevice, UserError } from '../../engine/index.ts'
import { adapterOption, count, makeCommand } from '../../train/cli/options.ts'
import { Progress } from '../../train/cli/progress.ts'
import { budgetOf } from '../doBench.ts'
import { regularExpression } from '../select.ts'
import { shapeOf, standardWorkloads, type Workload } from '../workloads.ts'
import { PEERS } from './peers.ts'
import { type PeerReport, peerText } from './report.ts'
import { runPeer } from './runPeer.ts'
import { timeTorch } from './torch.ts'

interface Flags {
  peer?: string[]
  filter?: string
  quick?: boolean
  time?: number
  limit: number
  adapter?: string
  json?: boolean
}

const command = makeCommand('bench:peers')
  .description('time the same computations in other WebGPU libraries and in ours, in turn, on the same driver')
  .option('--peer <name...>', `only these, by name or a part of it: ${Object.keys(PEERS).join(', ')}, torch`)
  .option('--filter <regexp>', 'only workloads whose `name shape` matches')
  .option('--quick', 'only show that everything runs: one round of each')
  .option('--time <ms>', 'how long to time each side (default: 300 on a software device, else 200)', count)
  .option('--limit <s>', 'give a workload up after so many seconds', count, 180)
  .addOption(adapterOption())
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
  const device = await requestDevice({ adapter: flags.adapter })
  const { software, name } = device.summary
  device.destroy()
  const workloads = chosen(standardWorkloads(software), flags.filter)
  const budget = budgetOf(software, flags.quick ?? false)
  const task = { adapter: flags.adapter, workloads, budget: { ...budget, time: flags.time ?? budget.time } }
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
      const { comparisons, failures } = await runPeer({ ...task, package: peer }, flags.limit, (done, w) => {
        progress.update(i * workloads.length + done, w ? `${peer} ${titleOf(w)}` : peer)
      })
      report.comparisons.push(...comparisons)
      report.failures.push(...failures)
    }
  } finally {
    progress.stop()
  }
  if (asked('torch')) report.torch = await timeTorch(workloads, task.budget, flags.limit)
  console.log(flags.json ? JSON.stringify(report, null, 2) : peerText(report))
  if (report.failures.some(({ offered }) => offered)) process.exitCode = 1
}

function chosen(all: readonly Workload[], filter: string | undefined): Workload[] {
  const pattern = regularExpression(filter ?? '')
  const found = all.filter((w) => pattern.test(titleOf(w)))
  if (found.length === 0) throw new UserError(`--filter ${filter} leaves nothing of ${all.map(titleOf).join(', ')}`)
  return found
}

function titleOf(w: Workload): string {
  return `${w.kind} ${shapeOf(w)}`
}

/** The versions of the peers, which their package folder pins. */
async function versions(): Promise<Record<string, string>> {
  const { dependencies } = JSON.parse(await readFile('bench/peers/package.json', 'utf8')) as {
    dependencies: Record<string, string>
  }
  return dependencies
}
