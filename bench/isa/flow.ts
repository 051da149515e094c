import type { Block } from './listing.ts'
import { addMix, type Mix, mixOf, noMix } from './mix.ts'
import { storageDescriptors, tripsOf } from './trips.ts'

/** A loop: the blocks from `first` to `last`, which a branch at the end of `last` repeats. */
export interface Loop {
  first: number
  last: number
  parent: Loop | undefined
  /** How often it runs, where that follows from the code and the uniform buffer. */
  trips: number | undefined
}

/** The loops of a shader and how often its blocks count. */
export interface Flow {
  blocks: readonly Block[]
  /** Instructions of each block. */
  mixes: readonly Mix[]
  /** Outer loops come before those inside. */
  loops: readonly Loop[]
  /** False for blocks of an alternative that is taken to be left out: see `findFlow`. */
  counted: readonly boolean[]
}

const BRANCH = /^s_c?branch\S*$/

/**
 * Finds the loops of a shader and its alternatives. Of two alternatives one counts: the one with more multiply-adds, else, where lanes
 * differ, the longer one, and where they agree, the shorter one, which is the path of whole tiles.
 * @param uniforms words of the shader's uniform buffer, from which lengths of loops may follow
 */
export function findFlow(blocks: readonly Block[], uniforms: readonly number[] = []): Flow {
  const at = new Map(blocks.map(({ label }, i) => [label, i]))
  const mixes = blocks.map(({ instructions }) => mixOf(instructions))
  const loops = findLoops(blocks, at, uniforms)
  const counted = blocks.map(() => true)
  const innermost = (i: number) => innermostLoop(loops, i)
  blocks.forEach((block, i) => {
    const arms = armsAt(blocks, at, block, i)
    if (!arms) return
    const [one, other] = arms
    if (innermost(one[0]) !== innermost(i) || innermost(other[1]) !== innermost(i)) return
    const left = leftOut(sumOf(mixes, one), sumOf(mixes, other), arms.lanesDiffer) === 0 ? one : other
    for (let j = left[0]; j <= left[1]; j++) counted[j] = false
  })
  return { blocks, mixes, loops, counted }
}

function findLoops(blocks: readonly Block[], at: ReadonlyMap<string, number>, uniforms: readonly number[]): Loop[] {
  const ends = new Map<number, number>()
  blocks.forEach(({ instructions }, i) => {
    for (const { op, text } of instructions) {
      const to = BRANCH.test(op) ? targetOf(text, at) : undefined
      if (to !== undefined && to <= i) ends.set(to, Math.max(i, ends.get(to) ?? i))
    }
  })
  const sorted = [...ends].sort((a, b) => a[0] - b[0] || b[1] - a[1])
  const loops: Loop[] = []
  for (const [first, last] of sorted) {
    const parent = loops.findLast((loop) => loop.first <= first && last <= loop.last)
    loops.push({ first, last, parent, trips: undefined })
  }
  const instructions = blocks.flatMap((block) => block.instructions)
  const program = { instructions, uniforms, storage: storageDescriptors(instructions) }
  const inBlock = blocks.flatMap((block, i) => block.instructions.map(() => i))
  for (const loop of loops) {
    const own = instructions.flatMap((_, i) => (innermostLoop(loops, inBlock[i]!) === loop ? [i] : []))
    loop.trips = tripsOf(program, own, (i) => {
      const to = /^s_cbranch/.test(instructions[i]!.op) ? targetOf(instructions[i]!.text, at) : undefined
      return to !== undefined && (to <= loop.first || to > loop.last)
    })
  }
  return loops
}

/** Returns the innermost loop around a block. */
function innermostLoop(loops: readonly Loop[], block: number): Loop | undefined {
  return loops.findLast(({ first, last }) => first <= block && block <= last)
}

function targetOf(text: string, at: ReadonlyMap<string, number>): number | undefined {
  const label = /\b(BB\d+)\b/.exec(text)
  return label ? at.get(label[1]!) : undefined
}

type Range = [first: number, last: number]
type Arms = [Range, Range] & { lanesDiffer: boolean }

/** Returns the two alternatives behind a block that ends with a branch, if there are two. */
function armsAt(blocks: readonly Block[], at: ReadonlyMap<string, number>, block: Block, i: number): Arms | undefined {
  const branch = block.instructions.findLast(({ op }) => BRANCH.test(op))
  const other = branch && targetOf(branch.text, at)
  if (!branch || other === undefined || other <= i + 1) return undefined
  const arms = (end: number, lanesDiffer: boolean): Arms | undefined =>
    end >= other ? (Object.assign([[i + 1, other - 1] as Range, [other, end] as Range], { lanesDiffer }) as Arms) : undefined
  if (branch.op === 's_cbranch_execz') {
    const { instructions } = blocks[other]!
    const flips = instructions.some(
      ({ op, text }) => /^s_(?:and_not1|andn2|xor)_b(?:32|64)$/.test(op) && /^\S+\s+exec/.test(text),
    )
    const next = instructions.at(-1)
    const end = flips && next?.op === 's_cbranch_execz' ? targetOf(next.text, at) : undefined
    return end === undefined ? undefined : arms(end - 1, true)
  }
  const leaves = blocks[other - 1]!.instructions.findLast(({ op }) => op !== 's_nop')
  const join = leaves?.op === 's_branch' ? targetOf(leaves.text, at) : undefined
  return join === undefined ? undefined : arms(join - 1, false)
}

function sumOf(mixes: readonly Mix[], [first, last]: Range): Mix {
  const sum = noMix()
  for (let i = first; i <= last; i++) addMix(sum, mixes[i]!)
  return sum
}

function leftOut(one: Mix, other: Mix, lanesDiffer: boolean): 0 | 1 {
  const work = (mix: Mix) => mix.fma + 4096 * mix.matrix
  const length = (mix: Mix) => mix.valu + mix.lds + mix.loads + mix.stores
  if (Math.abs(work(one) - work(other)) > 4) return work(one) < work(other) ? 0 : 1
  return length(one) < length(other) === lanesDiffer ? 0 : 1
}
