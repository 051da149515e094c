import { table } from '../../train/cli/table.ts'
import { significant } from '../format.ts'
import { type Fact, factsOf } from './facts.ts'
import type { Judgement } from './judge.ts'
import type { Machine } from './machine.ts'
import type { KernelSource } from './source.ts'

/** The code of our kernels on a GPU. */
export interface IsaReport {
  machine: Machine
  /** Names of the adapter and of the driver that compiled. */
  compiler: string
  judgements: readonly Judgement<KernelSource>[]
  facts: readonly Fact[]
}

/** Makes a report of what is known of shaders. */
export function isaReport(machine: Machine, compiler: string, judgements: readonly Judgement<KernelSource>[]): IsaReport {
  return { machine, compiler, judgements, facts: factsOf(judgements) }
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
export function reportText({ machine, compiler, judgements, facts }: IsaReport): string {
  return [
    `Code that ${compiler} makes for ${machine.family}. NOTHING WAS EXECUTED: times are estimates for a ${machine.card}`,
    `(${machine.computeUnits} compute units, ${machine.ghz} GHz, ${machine.gbps} GB/s) from its rates, never measurements.`,
    'waves: of 32 lanes, that a SIMD keeps; one of 64 counts two. hot loop: where multiply-adds are densest (m: matrix products, f: multiply-adds)',
    'or else most bytes move, with its vector (v), workgroup-memory (l), global (g) and scalar (s) instructions. density: multiply-adds of those',
    'but the scalar ones. loads: bytes of a lane, from workgroup memory (l) and global memory (g) in or around the loop.',
    '',
    table(HEAD, judgements.map(cellsOf)),
    '',
    ...factLines(facts),
  ].join('\n')
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
export function reportJson({ machine, compiler, judgements, facts }: IsaReport): string {
  const shaders = judgements.map(({ source, error, listing, hot, estimate }) => {
    const { code: _, storage: __, ...about } = source
    if (!listing) return { ...about, error }
    const { blocks: ___, ...figures } = listing
    return { ...about, ...figures, hot: hot && { ...hot, loop: undefined }, estimate }
  })
  return JSON.stringify({ executed: false, compiler, machine, shaders, facts }, null, 2)
}
