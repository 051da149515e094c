import { type Grid, type Param, packParams, paramWords } from '../../kernels/spec.ts'
import type { BufferUse } from '../memory/bindings.ts'
import type { CompiledKernel } from './pipelines.ts'
import { PARAM_SLOT } from './pipelines.ts'

const SLOT_WORDS = PARAM_SLOT / 4

/** The number of launches at which a stream is submitted without a call of `flush()`. It has no more dispatches, nor parameter blocks. */
export const MOST_LAUNCHES = 128

/** One launch of a compiled kernel. */
export interface Launch {
  kernel: CompiledKernel
  bindGroup: GPUBindGroup
  grid: Readonly<Grid>
  /** The op that launches the kernel, for errors and traces. */
  op: string
  /** Names of the streams that the launch belongs to, for traces. */
  streams: readonly string[]
  /** The buffers that the launch uses, for the profiler; the list may be empty where none is set. */
  uses: readonly BufferUse[]
}

/** The parameters of a problem that many launches share. A stream holds them once. */
export class SharedBlock {
  readonly words: Uint32Array<ArrayBuffer>
  /** The number of the recording that holds the block, and the block's slot there. */
  recording = 0
  slot = 0

  /** @throws Error when a parameter is missing or does not fit its type */
  constructor(params: readonly Param[], problem: Record<string, unknown>) {
    this.words = new Uint32Array(paramWords(params))
    const { buffer } = this.words
    packParams(params, problem, { u32: this.words, i32: new Int32Array(buffer), f32: new Float32Array(buffer) }, 0)
  }
}

/** A recorded launch, whose parameters are block number `slot` of its stream. */
interface DispatchCommand extends Launch {
  kind: 'dispatch'
  slot: number
  /** The launches of kernels that it does. */
  launches: number
}

export interface CopyCommand {
  kind: 'copy'
  source: GPUBuffer
  sourceOffset: number
  target: GPUBuffer
  targetOffset: number
  bytes: number
}

export type Bytes = Uint8Array<ArrayBuffer>

export interface WriteCommand {
  kind: 'write'
  target: GPUBuffer
  offset: number
  data: Bytes
}

export type Command = DispatchCommand | CopyCommand | WriteCommand

/** Parameter blocks on the host: one memory, viewed as u32, i32 and f32. */
export interface ParamBlocks {
  readonly u32: Uint32Array<ArrayBuffer>
  readonly i32: Int32Array
  readonly f32: Float32Array
}

/** The content of a stream, taken for submission. */
export interface RecordedStream {
  stream: string
  commands: Command[]
  params: ParamBlocks
  slots: number
}

/** The number of recordings of all streams so far. */
let recordings = 0

/** Records commands in order. The device submits them as one batch, and nothing reaches the GPU before. */
export class Stream {
  readonly name: string
  #commands: Command[] = []
  #params = NO_BLOCKS
  #slots = 0
  #recording = ++recordings
  /** The number of launches that were recorded and not yet taken for submission. */
  launches = 0

  constructor(name: string) {
    this.name = name
  }

  /** The number of commands that were recorded and not yet taken for submission. */
  get length(): number {
    return this.#commands.length
  }

  /** Adds a block of parameters for the next dispatch. @returns its slot */
  addBlock(words: Uint32Array): number {
    const word = this.#nextWord()
    this.#params.u32.set(words, word)
    return this.#slots++
  }

  /** Adds a block with the parameters of a problem, for the next dispatch. @returns its slot @throws Error as `packParams` does */
  pack(params: readonly Param[], problem: Record<string, unknown>): number {
    const word = this.#nextWord()
    packParams(params, problem, this.#params, word)
    return this.#slots++
  }

  /** Returns the slot of a shared block, which is added where the recording does not hold it yet. */
  slotOf(block: SharedBlock): number {
    if (block.recording !== this.#recording) {
      block.slot = this.addBlock(block.words)
      block.recording = this.#recording
    }
    return block.slot
  }

  #nextWord(): number {
    if ((this.#slots + 1) * SLOT_WORDS > this.#params.u32.length) {
      const larger = takeBlocks(Math.max(64, 2 * this.#slots))
      larger.u32.set(this.#params.u32.subarray(0, this.#slots * SLOT_WORDS))
      giveBlocks(this.#params)
      this.#params = larger
    }
    return this.#slots * SLOT_WORDS
  }

  /** Records a dispatch. @param slot of its parameters @param launches the launches that it does */
  dispatch({ kernel, bindGroup, grid, op, streams, uses }: Launch, slot: number, launches = 1): void {
    this.#commands.push({ kind: 'dispatch', slot, launches, kernel, bindGroup, grid, op, streams, uses })
    this.launches += launches
  }

  record(command: CopyCommand | WriteCommand): void {
    this.#commands.push(command)
  }

  /** Takes the content and leaves the stream empty. After submission the parameter blocks go back with `giveBlocks`. */
  take(): RecordedStream {
    const recorded = { stream: this.name, commands: this.#commands, params: this.#params, slots: this.#slots }
    this.#commands = []
    this.#params = NO_BLOCKS
    this.#slots = 0
    this.#recording = ++recordings
    this.launches = 0
    return recorded
  }
}

/** Makes memory for the parameter blocks of `slots` dispatches. */
export function paramBlocks(slots: number): ParamBlocks {
  const memory = new ArrayBuffer(slots * PARAM_SLOT)
  return { u32: new Uint32Array(memory), i32: new Int32Array(memory), f32: new Float32Array(memory) }
}

const NO_BLOCKS = paramBlocks(0)

/** Free blocks, which are used again because the garbage collector frees array memory slowly. */
const spare: ParamBlocks[] = []
const MOST_SPARE = 16

function takeBlocks(slots: number): ParamBlocks {
  const at = spare.findIndex(({ u32 }) => u32.length >= slots * SLOT_WORDS)
  return at < 0 ? paramBlocks(slots) : spare.splice(at, 1)[0]!
}

/** Takes back parameter blocks whose content is no longer needed. */
export function giveBlocks(blocks: ParamBlocks): void {
  if (blocks !== NO_BLOCKS && spare.length < MOST_SPARE) spare.push(blocks)
}
