import type { Work } from './estimate.ts'
import type { Hot } from './hot.ts'
import type { Judgement } from './judge.ts'
import { MACHINES, SIMD_LANES, SIMDS } from './machine.ts'
import { type LibraryRun, OURS } from './peers.ts'
import type { KernelSource } from './source.ts'

/** A statement on the code of the kernels, and whether it holds. */
export interface Fact {
  says: string
  holds: boolean
  /** The shaders for which it does not hold, and by what. */
  except: string[]
}

/** Bounds of the facts below. */
const DENSITY = 0.8
const WAVES = 10
const BESIDE_MATRIX = 8
const WIDTH = 16
/** Kernels whose loads are looked at by themselves. */
const HOT = /^(?:matmul|attention|softmax|layerNorm)/
/** Part by which estimates may differ and count as equal: what moves each byte once cannot be ahead of what does too. */
const EQUAL = 0.02

type OfKernel = Judgement<KernelSource>

/** States what the code of our kernels should keep. A statement on no shader is left out. */
export function factsOf(judgements: readonly OfKernel[]): Fact[] {
  const compiled = judgements.filter(({ listing }) => listing !== undefined)
  const chosen = compiled.filter(({ source }) => source.chosen)
  const tiled = chosen.filter(({ source }) => source.kernel.startsWith('attention') && source.variant === 'tiled')
  const matrix = chosen.filter(({ hot }) => hot?.besideMatrix !== undefined)
  const aligned = chosen.filter(({ source, hot }) => source.aligned && hot && hotLoads(hot).length > 0)
  const [named, others] = [true, false].map((is) => aligned.filter(({ source }) => HOT.test(source.kernel) === is))
  return [
    fact('no chosen kernel spills registers or has scratch memory', chosen, ({ listing }) =>
      listing!.spilled + listing!.scratch > 0 ? `${listing!.spilled} registers, ${listing!.scratch} bytes` : undefined,
    ),
    fact(`loops of attention tiled have at least ${DENSITY} multiply-adds an issue`, tiled, ({ hot }) =>
      (hot?.density ?? 0) < DENSITY ? (hot?.density ?? 0).toFixed(2) : undefined,
    ),
    fact(`attention tiled has at least ${WAVES} waves a SIMD, or all that its dispatch has`, tiled, ({ listing, source }) =>
      listing!.waves < Math.min(WAVES, wavesOf(source.work)) ? String(listing!.waves) : undefined,
    ),
    fact(`at most ${BESIDE_MATRIX} other vector or workgroup-memory instructions for a matrix product`, matrix, ({ hot }) =>
      hot!.besideMatrix! > BESIDE_MATRIX ? hot!.besideMatrix!.toFixed(1) : undefined,
    ),
    ...[
      { of: named!, what: 'matmul, attention, softmax and layerNorm' },
      { of: others!, what: 'all other kernels' },
    ].map(({ of, what }) =>
      fact(`hot loads of aligned shapes in ${what} are ${WIDTH} bytes wide`, of, ({ hot }) =>
        hotLoads(hot!).some((width) => width < WIDTH) ? hotLoads(hot!).join('+') : undefined,
      ),
    ),
  ].filter((each) => each !== undefined)
}

/** Returns the waves of 32 lanes that a dispatch gives to a SIMD of the smallest of the GPUs, where all of it is there at once. */
function wavesOf({ workgroups, invocations }: Work): number {
  const units = Math.min(...MACHINES.map(({ computeUnits }) => computeUnits))
  return Math.ceil((Math.ceil(workgroups / units) * Math.ceil(invocations / SIMD_LANES)) / SIMDS)
}

/** Returns the widths of a hot loop's loads of global memory, and of workgroup memory where it feeds multiply-adds. */
function hotLoads({ mix, multiplies, widths }: Hot): number[] {
  return multiplies && mix.matrix === 0 ? [...new Set([...widths.ldsLoads, ...widths.loads])] : widths.loads
}

/** Makes a statement of shaders. @param fails says by what a shader fails */
function fact(says: string, of: readonly OfKernel[], fails: (judgement: OfKernel) => string | undefined): Fact | undefined {
  if (of.length === 0) return undefined
  const except = of.flatMap((judgement) => {
    const by = fails(judgement)
    return by === undefined ? [] : [`${judgement.source.label} (${by})`]
  })
  return { says: `${says} (${of.length - except.length} of ${of.length})`, holds: except.length === 0, except }
}

/** States for each kind of workload whether ours is estimated to take no longer than every peer. */
export function peerFacts(runs: readonly LibraryRun[]): Fact[] {
  return [...new Set(runs.map(({ workload }) => workload))].flatMap((kind) => {
    const ours = runs.filter(({ library, workload }) => library === OURS && workload === kind)
    const except = ours.flatMap(({ shape, microseconds: mine, reason }) => {
      if (mine === undefined) return [`${shape} (${reason ?? 'no estimate'})`]
      const ahead = runs.filter(
        ({ workload, shape: theirs, microseconds }) =>
          workload === kind && theirs === shape && (microseconds ?? mine) * (1 + EQUAL) < mine,
      )
      return ahead.map(
        ({ library, microseconds }) => `${shape}: ${library} is ${(mine / microseconds!).toFixed(2)} times as fast`,
      )
    })
    const failing = new Set(except.map((line) => line.split(/[:(]/)[0])).size
    const says = `${kind}: no peer's code is estimated to be faster than ours (${ours.length - failing} of ${ours.length})`
    return ours.length > 0 ? [{ says, holds: except.length === 0, except }] : []
  })
}
