import { table } from '../../train/cli/table.ts'
import { significant } from '../format.ts'
import type { Quantiles } from '../statistics.ts'
import type { Comparison } from './compare.ts'
import type { PeerFailure } from './runPeer.ts'
import type { TorchReport } from './torch.ts'

export interface PeerReport {
  date: string
  device: string
  /** Versions by package name. */
  versions: Record<string, string>
  comparisons: Comparison[]
  failures: PeerFailure[]
  torch?: TorchReport
}

/** Makes the report as text: a row for each workload and peer, the fastest peer of each workload, and what failed. */
export function peerText({ device, versions, comparisons, failures, torch }: PeerReport): string {
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  const lines = [`on ${device}, in turn with ${names.join(', ')}; ratio: theirs / ours`]
  const head = ['workload', 'shape', 'peer', 'ours ms', '[p20 p80]', 'theirs ms', '[p20 p80]', 'ratio', 'values differ by']
  const rows = byWorkload(comparisons)
    .flat()
    .map((comparison) => [
      comparison.workload,
      comparison.shape,
      comparison.peer,
      significant(comparison.ours.median),
      quantileRange(comparison.ours),
      significant(comparison.theirs.median),
      quantileRange(comparison.theirs),
      `${significant(comparison.ratio)}x`,
      comparison.difference.toExponential(1),
    ])
  if (rows.length > 0) lines.push(table(head, rows), '', fastest(comparisons, torch))
  for (const { workload, shape, peer, reason } of failures) lines.push(`- ${peer}, ${workload} ${shape}: ${reason}`)
  if (torch) lines.push('', torchText(torch, comparisons.length === 0))
  return lines.join('\n')
}

/** Makes a table of the fastest peer of each workload, with PyTorch's time beside it. */
function fastest(comparisons: readonly Comparison[], torch: TorchReport | undefined): string {
  const times = torch && 'times' in torch ? torch.times : []
  const rows = byWorkload(comparisons).map((group) => {
    const { workload, shape, peer, ratio, ours } = group.reduce((least, comparison) =>
      comparison.ratio < least.ratio ? comparison : least,
    )
    const known = times.find((time) => time.workload === workload && time.shape === shape)
    const beside = known ? [significant(known.median), `${significant(known.median / ours.median)}x`] : ['-', '-']
    return [workload, shape, peer, `${significant(ratio)}x`, ...beside]
  })
  return table(['workload', 'shape', 'fastest peer', 'ratio', 'PyTorch ms', 'ratio'], rows)
}

function byWorkload(comparisons: readonly Comparison[]): Comparison[][] {
  const groups = new Map<string, Comparison[]>()
  for (const comparison of comparisons) {
    const key = `${comparison.workload} ${comparison.shape}`
    groups.set(key, [...(groups.get(key) ?? []), comparison])
  }
  return [...groups.values()]
}

/** Names the device of PyTorch, and gives its times where no other table has them. */
function torchText(torch: TorchReport, alone: boolean): string {
  if ('reason' in torch) return `PyTorch: ${torch.reason}`
  const { threads, blas } = torch
  const computes = threads === undefined ? '' : `, ${threads} threads, BLAS ${blas}`
  const title = `PyTorch ${torch.version} on ${torch.device}${computes}`
  if (!alone) return title
  const rows = torch.times.map((time) => [time.workload, time.shape, significant(time.median), quantileRange(time)])
  return `${title}\n${table(['workload', 'shape', 'ms', '[p20 p80]'], rows)}`
}

function quantileRange({ p20, p80 }: Quantiles): string {
  return `[${significant(p20)} ${significant(p80)}]`
}
