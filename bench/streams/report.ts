import { compact, table } from '../../train/cli/table.ts'
import { significant } from '../format.ts'
import { bytes } from './bytes.ts'
import type { Pass } from './candidate.ts'
import { explain } from './explain.ts'
import { fastest, type Row } from './rows.ts'
import type { StreamsReport } from './streamsReport.ts'

const TITLES: Record<Pass, string> = { forward: 'forward pass, until the logits have reached the host', step: 'training step' }

/** Makes the report as text: the models, the critical paths, and for each batch size and pass a table with remarks under it. */
export function textReport(report: StreamsReport): string {
  const { rows, failures } = report
  const parts = [heading(report), pathTable(report)]
  for (const { batch, pass } of places(rows)) {
    const own = rows.filter((row) => row.batch === batch && row.pass === pass)
    parts.push(`batch ${batch}, ${TITLES[pass]}\n${rowTable(own)}`)
    parts.push([...choiceLines(report, { batch, pass }), ...explain(own, report)].join('\n'))
  }
  for (const { batch, pass, name, reason } of failures) parts.push(`FAILED batch ${batch} ${pass} ${name}: ${reason}`)
  return parts.filter((part) => part !== '').join('\n\n')
}

/** Returns the batch sizes and passes of the rows, in their order. */
function places(rows: readonly Row[]): Pick<Row, 'batch' | 'pass'>[] {
  const seen = new Map(rows.map(({ batch, pass }) => [`${batch} ${pass}`, { batch, pass }]))
  return [...seen.values()]
}

function heading({ sizes: { paraformer, vit, scheme, recompute, coalesce }, parameters: [own, deep] }: StreamsReport): string {
  const { imageSize, patchSize, dim, heads, dimHead, mlpDim, branches, branchDepth } = paraformer
  const further = [
    ...(recompute ? ['layers run again for backward'] : []),
    ...(coalesce === undefined ? [] : [`${coalesce} branches coalesced at a time`]),
  ]
  return (
    `ParaFormer of ${branches} branches of ${branchDepth} layers (${compact(own)} parameters), ViT of ${vit.depth} layers (${compact(deep)}); ` +
    `images of ${imageSize} pixels in patches of ${patchSize},\n` +
    `${(imageSize / patchSize) ** 2 + 1} tokens, D ${dim}, ${heads} heads of ${dimHead}, MLP ${mlpDim}; scheme ${[scheme, 'no dropout', ...further].join(', ')}. ` +
    'Times are medians in ms, host: JavaScript, device: by its own clock.'
  )
}

function pathTable({ paths }: StreamsReport): string {
  const [first] = paths
  const head = [
    'critical path in dispatches',
    'forward',
    'of one branch',
    'longest chain',
    'step',
    'of one branch',
    'longest chain',
  ]
  const rows = paths.map(({ name, dispatches, chain }) => [
    name,
    ...(['forward', 'step'] as const).flatMap((pass) => [
      String(dispatches[pass]),
      `${significant(dispatches[pass] / first!.dispatches[pass])}x`,
      String(chain[pass]),
    ]),
  ])
  return (
    `${table(head, rows)}\n` +
    'Where a barrier stands before each dispatch, as in Dawn, all of them are the critical path; elsewhere the longest chain is.'
  )
}

function rowTable(rows: readonly Row[]): string {
  const step = rows.some(({ pass }) => pass === 'step')
  const head = ['mode', 'ms', 'host', 'device', 'dispatches', 'submits', 'µs/dispatch', 'MiB', 'unplanned', 'moved']
  const columns = [...head, 'x eager', 'x serial', 'x ViT']
  const auto = fastest(rows)
  const lines = rows.map((row) => line(row, label(row)))
  // This line comes after those of the modes on one device.
  if (auto) lines.splice(rows.findLastIndex(isMode) + 1, 0, line(auto, `auto: ${auto.name}`))
  const kept = columns.map((_, i) => step || !['MiB', 'unplanned'].includes(columns[i]!))
  const pick = (cells: readonly string[]) => cells.filter((_, i) => kept[i])
  return table(pick(columns), lines.map(pick))
}

/** Returns lines with the times of the candidates among which a row is the fastest. */
function choiceLines({ choices }: StreamsReport, at: Pick<Row, 'batch' | 'pass'>): string[] {
  return choices
    .filter(({ batch, pass }) => batch === at.batch && pass === at.pass)
    .map(({ name, ms }) => {
      const by = name === 'devices' ? 'devices by the mode of each' : 'pipeline by micro-batches'
      const tried = Object.entries(ms).map(([label, time]) => `${label}: ${significant(time)} ms`)
      return `${by}: ${tried.join(', ')}.`
    })
}

/** Whether a row is a captured ParaFormer on one device. */
const isMode = ({ architecture, chain }: Row) => architecture === 'paraformer' && chain !== undefined

function label({ architecture, name }: Row): string {
  return architecture === 'vit' ? `ViT ${name}` : name
}

function line(row: Row, name: string): string[] {
  const { time, host, device, hostPerDispatch, dispatches, submits, memory, moved, speedup } = row
  const mebibytes = (bytes: number | undefined) => (bytes === undefined ? '-' : significant(bytes / 2 ** 20))
  return [
    name,
    significant(time.median),
    significant(host),
    significant(device ?? Number.NaN),
    String(dispatches),
    String(submits),
    significant(1000 * hostPerDispatch),
    mebibytes(memory?.bytes),
    mebibytes(memory?.unplanned),
    moved > 0 ? bytes(moved) : '-',
    ...[speedup.eager, speedup.serial, speedup.vit].map((ratio) => significant(ratio)),
  ]
}

const CSV: Record<string, (row: Row) => string | number | undefined> = {
  batch: (row) => row.batch,
  pass: (row) => row.pass,
  architecture: (row) => row.architecture,
  name: (row) => row.name,
  median: (row) => row.time.median,
  p20: (row) => row.time.p20,
  p80: (row) => row.time.p80,
  latency: (row) => row.latency.median,
  samples: (row) => row.samples,
  host: (row) => row.host,
  device: (row) => row.device,
  dispatches: (row) => row.dispatches,
  submits: (row) => row.submits,
  chain: (row) => row.chain,
  bytes: (row) => row.memory?.bytes,
  unplanned: (row) => row.memory?.unplanned,
  moved: (row) => row.moved,
  overEager: (row) => row.speedup.eager,
  overSerial: (row) => row.speedup.serial,
  overVit: (row) => row.speedup.vit,
  error: (row) => row.error,
}

/** Returns the rows as comma-separated values with a header line; times are in milliseconds. */
export function csvReport({ rows, sizes: { recompute, coalesce } }: StreamsReport): string {
  const cells: typeof CSV = { ...CSV, recompute: () => String(recompute), coalesce: () => coalesce }
  const quote = (value: string | number | undefined) => (String(value).includes(',') ? `"${value}"` : (value ?? ''))
  const lines = rows.map((row) =>
    Object.values(cells)
      .map((cell) => quote(cell(row)))
      .join(','),
  )
  return [Object.keys(cells).join(','), ...lines].join('\n')
}
