import type { Flow, Loop } from './flow.ts'
import { addMix, type Mix, noMix, widthOf } from './mix.ts'

/** Least multiply-adds of a loop that counts as one of them. */
const LEAST = 8

/** The loop that a shader spends its time in. */
export interface Hot {
  loop: Loop
  /** Instructions of a run of the loop; those of loops inside count once. */
  mix: Mix
  /** Whether the loop is the one where multiply-adds are densest; otherwise it is the one that moves most bytes. */
  multiplies: boolean
  /** Multiply-adds of the vector, workgroup-memory and global-memory instructions; a matrix product counts 16 in both. */
  density: number
  /** Vector and workgroup-memory instructions other than matrix products, for each of those; undefined without any. */
  besideMatrix: number | undefined
  /** Bytes of a lane by which workgroup memory is read and written in the loop, and global memory in it or in the next loop around it that has any. */
  widths: Record<'ldsLoads' | 'ldsStores' | 'loads' | 'stores', number[]>
}

/** Finds the hot loop of a shader, which may have none: of those with matrix products, else with multiply-adds, the densest. */
export function findHot(flow: Flow): Hot | undefined {
  let best: { loop: Loop; mix: Mix; rank: number; score: number; multiplies: boolean } | undefined
  for (const loop of flow.loops) {
    const mix = mixIn(flow, loop)
    const multiplies = mix.fma >= LEAST || mix.matrix > 0
    const rank = mix.matrix > 0 ? 2 : multiplies ? 1 : 0
    const score = multiplies ? densityOf(mix) : mix.loadBytes + mix.storeBytes
    if (score > 0 && (!best || rank > best.rank || (rank === best.rank && score > best.score))) {
      best = { loop, mix, rank, score, multiplies }
    }
  }
  if (!best) return undefined
  const { loop, mix, multiplies } = best
  const beside = (mix.valu - mix.matrix + mix.lds) / mix.matrix
  return {
    loop,
    mix,
    multiplies,
    density: densityOf(mix),
    besideMatrix: mix.matrix > 0 ? beside : undefined,
    widths: widthsOf(flow, loop),
  }
}

function mixIn(flow: Flow, loop: Loop): Mix {
  const sum = noMix()
  for (let i = loop.first; i <= loop.last; i++) if (flow.counted[i]) addMix(sum, flow.mixes[i]!)
  return sum
}

function densityOf(mix: Mix): number {
  const issues = mix.valu + 15 * mix.matrix + mix.lds + mix.loads + mix.stores + mix.scratch
  return issues > 0 ? (mix.fma + 16 * mix.matrix) / issues : 0
}

/** Returns the distinct widths, the narrowest first. */
function widthsOf(flow: Flow, hot: Loop): Hot['widths'] {
  const within = (loop: Loop, pattern: RegExp): number[] => {
    const found = new Set<number>()
    flow.blocks.forEach(({ instructions }, i) => {
      if (!flow.counted[i] || i < loop.first || i > loop.last) return
      for (const { op } of instructions) if (pattern.test(op)) found.add(widthOf(op))
    })
    return [...found].sort((a, b) => a - b)
  }
  const nearest = (pattern: RegExp): number[] => {
    for (let loop: Loop | undefined = hot; loop; loop = loop.parent) {
      const found = within(loop, pattern)
      if (found.length > 0) return found
    }
    return []
  }
  return {
    ldsLoads: within(hot, /^ds_(?:load|read)/),
    ldsStores: within(hot, /^ds_(?:store|write)/),
    loads: nearest(/^(?:buffer|global)_load/),
    stores: nearest(/^(?:buffer|global)_store/),
  }
}
