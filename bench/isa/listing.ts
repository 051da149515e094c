import type { Instruction } from './mix.ts'

/** A run of instructions between a label and the next one. */
export interface Block {
  label: string
  instructions: Instruction[]
}

/** RADV's description of a compute shader (`RADV_DEBUG=shaderstats,asm`). */
export interface Listing {
  /** Lanes of a subgroup, for which the shader was compiled: 32 or 64. */
  lanes: number
  /** Vector registers of a lane. */
  registers: number
  /** Registers that live in memory for a time, vector and scalar. */
  spilled: number
  /** Bytes of a workgroup's memory. */
  lds: number
  /** Bytes of memory for private arrays and spilled registers, of a subgroup. */
  scratch: number
  /** Waves that a SIMD keeps at once, in waves of 32 lanes as RADV counts them: one of 64 lanes counts two. */
  waves: number
  instructions: number
  /** Bytes of machine code. */
  code: number
  /** The compiler's own estimates in cycles: of a wave that is alone, and of one among many. Its loops run a fixed number of times. */
  latency: number
  inverseThroughput: number
  blocks: Block[]
}

const LABEL = /^(BB\d+):/
const INSTRUCTION = /^\s+((?:[vs]|ds|buffer|global|scratch|flat|image)_\w+)/

/**
 * Reads the text of one shader.
 * @throws Error when the text has no figures or no code, as of a driver that prints another form
 */
export function readListing(text: string): Listing {
  const figure = (name: string): number => {
    const found = new RegExp(`^${name}: (\\d+)`, 'm').exec(text)
    if (!found) throw new Error(`the driver says nothing of "${name}"`)
    return Number(found[1])
  }
  const blocks = readBlocks(text)
  if (blocks.length === 0) throw new Error('the driver prints no machine code')
  return {
    lanes: lanesOf(blocks),
    registers: figure('VGPRs'),
    spilled: figure('Spilled VGPRs') + figure('Spilled SGPRs'),
    lds: figure('LDS size'),
    scratch: figure('Scratch size'),
    waves: figure('Subgroups per SIMD'),
    instructions: figure('Instructions'),
    code: figure('Code size'),
    latency: figure('Latency'),
    inverseThroughput: figure('Inverse Throughput'),
    blocks,
  }
}

function readBlocks(text: string): Block[] {
  const blocks: Block[] = []
  for (const line of text.split('\n')) {
    const label = LABEL.exec(line)
    if (label) blocks.push({ label: label[1]!, instructions: [] })
    const instruction = blocks.length > 0 ? INSTRUCTION.exec(line) : null
    if (!instruction) continue
    // Behind the semicolon stand the bytes.
    const [written = ''] = line.split(';')
    blocks.at(-1)!.instructions.push({ op: instruction[1]!, text: written.trim() })
  }
  return blocks
}

/** Masks of lanes have 64 bits unless a shader's subgroups have 32 lanes. */
function lanesOf(blocks: readonly Block[]): number {
  const narrow = blocks.some(({ instructions }) => instructions.some(({ text }) => /\b(?:exec_lo|vcc_lo)\b/.test(text)))
  const wide = blocks.some(({ instructions }) => instructions.some(({ text }) => /\b(?:exec|vcc)\b/.test(text)))
  return narrow && !wide ? 32 : 64
}
