import { table } from '../../train/cli/table.ts'
import { significant } from '../report.ts'
import type { Comparison } from './compare.ts'
import type { PeerFailure } from './runPeer.ts'
import type { TorchReport } from './torch.ts'

export interface PeerReport {
  date: string
  device: string
  /** Of the packages. */
  versions: Record<string, string>
  comparisons: Comparison[]
  failures: PeerFailure[]
  torch?: TorchReport
}

/** The report as text: a row for each workload and peer, the fastest peer of each workload, and what failed. */
export function peerText({ device, versions, comparisons, failures, torch }: PeerReport): string {
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  const lines = [`on ${device}, in turn with ${names.join(', ')}; ratio: theirs / ours`]
  const head = ['workload', 'shape', 'peer', 'ours ms', '[p20 p80]', 'theirs ms', '[p20 p80]', 'ratio', 'values differ by']
  const spread = ({ p20, p80 }: { p20: number; p80: number }) => `[${significant(p20)} ${significant(p80)}]`
  const rows = byWorkload(comparisons)
    .flat()
    .map((one) => [
      one.workload,
      one.shape,
      one.peer,
      significant(one.ours.median),
      spread(one.ours),
      significant(one.theirs.median),
      spread(one.theirs),
      `${significant(one.ratio)}x`,
      one.difference.toExponential(1),
    ])
  if (rows.length > 0) lines.push(table(head, rows), '', fastest(comparisons))
  for (const { workload, shape, peer, reason } of failures) lines.push(`- ${peer}, ${workload} ${shape}: ${reason}`)
  if (torch) lines.push('', torchText(torch))
  return lines.join('\n')
}

/** Against the fastest peer of each workload. */
function fastest(comparisons: readonly Comparison[]): string {
  const rows = byWorkload(comparisons).map((group) => {
    const best = group.reduce((least, one) => (one.ratio < least.ratio ? one : least))
    return [best.workload, best.shape, best.peer, `${significant(best.ratio)}x`]
  })
  return table(['workload', 'shape', 'fastest peer', 'ratio'], rows)
}

function byWorkload(comparisons: readonly Comparison[]): Comparison[][] {
  const groups = new Map<string, Comparison[]>()
  for (const one of comparisons) {
    const key = `${one.workload} ${one.shape}`
    groups.set(key, [...(groups.get(key) ?? []), one])
  }
  return [...groups.values()]
}

function torchText(torch: TorchReport): string {
  if ('reason' in torch) return `PyTorch: ${torch.reason}`
  const rows = torch.times.map(({ workload, shape, median, p20, p80 }) => [
    workload,
    shape,
    significant(median),
    `[${significant(p20)} ${significant(p80)}]`,
  ])
  return `PyTorch ${torch.version} on ${torch.device}\n${table(['workload', 'shape', 'ms', '[p20 p80]'], rows)}`
}
