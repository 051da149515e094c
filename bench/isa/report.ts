import { table } from '../../train/cli/table.ts'
import { significant } from '../format.ts'
import { type Fact, factsOf, peerFacts } from './facts.ts'
import type { Judgement } from './judge.ts'
import type { Machine } from './machine.ts'
import { type LibraryRun, OURS } from './peers.ts'
import type { KernelSource } from './source.ts'

/** The code of our kernels on a GPU. */
export interface IsaReport {
  machine: Machine
  /** Names of the adapter and of the driver that compiled. */
  compiler: string
  judgements: readonly Judgement<KernelSource>[]
  /** The dispatches of ours and the peers for a few workloads, where they were asked for. */
  peers: readonly LibraryRun[]
  facts: readonly Fact[]
}

/** Makes a report of what is known of shaders. */
export function isaReport(
  machine: Machine,
  compiler: string,
  judgements: readonly Judgement<KernelSource>[],
  peers: readonly LibraryRun[],
): IsaReport {
  return { machine, compiler, judgements, peers, facts: [...factsOf(judgements), ...peerFacts(peers)] }
}

const HEAD = [
  'shader',
  'chosen',
  'regs',
  'spilled',
  'scratch',
  'lds',
  'waves',
  'instr',
  'inv.thr',
  'hot loop',
  'density',
  'loads',
  'est. µs',
  'bound',
]

/** Makes the report as text. */
export function reportText({ machine, compiler, judgements, peers, facts }: IsaReport): string {
  const lines = [
    `Code that ${compiler} makes for ${machine.family}. NOTHING WAS EXECUTED: times are estimates for a ${machine.card}`,
    `(${machine.computeUnits} compute units, ${machine.ghz} GHz, ${machine.gbps} GB/s) from its rates, never measurements.`,
  ]
  if (judgements.length > 0) {
    lines.push(
      'waves: of 32 lanes, that a SIMD keeps; one of 64 counts two. hot loop: where multiply-adds are densest (m: matrix products, f: multiply-adds)',
      'or else most bytes move, with its vector (v), workgroup-memory (l), global (g) and scalar (s) instructions. density: multiply-adds of those',
      'but the scalar ones. loads: bytes of a lane, from workgroup memory (l) and global memory (g) in or around the loop.',
      '',
      table(HEAD, judgements.map(cellsOf)),
    )
  }
  if (peers.length > 0) lines.push('', ...peerLines(peers))
  return [...lines, '', ...factLines(facts)].join('\n')
}

/** Makes a table of the estimates of ours and of the peers, a workload a row. */
function peerLines(peers: readonly LibraryRun[]): string[] {
  const libraries = [...new Set(peers.map(({ library }) => library))]
  const names = [...new Set(peers.map(nameOf))]
  const rows = names.map((name) => {
    const runs = libraries.map((library) => peers.find((run) => run.library === library && nameOf(run) === name))
    const best = Math.min(
      ...runs.flatMap((run) => (run?.microseconds !== undefined && run.library !== OURS ? [run.microseconds] : [])),
    )
    const mine = runs.find((run) => run?.library === OURS)?.microseconds
    return [name, ...runs.map(timeText), mine !== undefined && Number.isFinite(best) ? significant(best / mine) : '-']
  })
  return [
    'Estimated microseconds of all dispatches of a workload in ours and in the peers (in parentheses: dispatches), and the fastest peer over ours.',
    'Launches cost nothing here, which is kind to who makes many.',
    '',
    table(['workload', ...libraries, 'fastest peer / ours'], rows),
  ]
}

function nameOf({ workload, shape }: LibraryRun): string {
  return `${workload} ${shape}`
}

function timeText(run: LibraryRun | undefined): string {
  if (run?.microseconds === undefined) return `- ${run?.reason ?? ''}`.slice(0, 40)
  return `${significant(run.microseconds)} (${run.dispatches.length})`
}

/** Returns a line for each fact, and one for each shader for which it does not hold. */
export function factLines(facts: readonly Fact[]): string[] {
  return facts.flatMap(({ says, holds, except }) => [
    `${holds ? 'holds' : 'FAILS'}: ${says}`,
    ...except.map((what) => `         not ${what}`),
  ])
}

function cellsOf({ source, error, listing, hot, estimate }: Judgement<KernelSource>): string[] {
  if (!listing || !estimate) return [source.label, source.chosen ? 'yes' : '', `- ${error ?? 'no code'}`]
  return [
    source.label,
    source.chosen ? 'yes' : '',
    String(listing.registers),
    String(listing.spilled),
    String(listing.scratch),
    String(listing.lds),
    String(listing.waves),
    String(listing.instructions),
    String(listing.inverseThroughput),
    hot ? loopText(hot.mix) : '-',
    hot?.multiplies ? hot.density.toFixed(2) : '-',
    hot ? widthText(hot.widths) : '-',
    significant(estimate.microseconds),
    estimate.bound,
  ]
}

function loopText(mix: {
  matrix: number
  fma: number
  valu: number
  lds: number
  loads: number
  stores: number
  scalar: number
}): string {
  const products = mix.matrix > 0 ? `${mix.matrix}m ` : ''
  return `${products}${mix.fma}f ${mix.valu}v ${mix.lds}l ${mix.loads + mix.stores}g ${mix.scalar}s`
}

function widthText({ ldsLoads, loads }: { ldsLoads: number[]; loads: number[] }): string {
  const parts = [ldsLoads.length > 0 ? `l${ldsLoads.join('+')}` : '', loads.length > 0 ? `g${loads.join('+')}` : '']
  return parts.filter((part) => part !== '').join(' ') || '-'
}

/** Makes the report as JSON, without the code. */
export function reportJson({ machine, compiler, judgements, peers, facts }: IsaReport): string {
  const libraries = peers.map(({ texts: _, dispatches, ...run }) => ({ ...run, dispatches: dispatches.map(figuresOf) }))
  return JSON.stringify({ executed: false, compiler, machine, shaders: judgements.map(figuresOf), libraries, facts }, null, 2)
}

/** Returns what is known of a shader, without its code. */
function figuresOf({ source, error, listing, hot, estimate }: Judgement): object {
  const { code: _, storage: __, uniforms: ___, ...about } = source
  if (!listing) return { ...about, error }
  const { blocks: ____, ...figures } = listing
  return { ...about, ...figures, hot: hot && { ...hot, loop: undefined }, estimate }
}
