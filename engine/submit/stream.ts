import type { Grid } from '../../kernels/spec.ts'
import type { BufferUse } from '../memory/bindings.ts'
import type { CompiledKernel } from './pipelines.ts'
import { PARAM_SLOT } from './pipelines.ts'

const SLOT_WORDS = PARAM_SLOT / 4

/** A kernel with what it works on. */
export interface Launch {
  kernel: CompiledKernel
  bindGroup: GPUBindGroup
  grid: Readonly<Grid>
  /** The op that asked for it, for errors and traces. */
  op: string
  /** For traces: the branches it works for, and where it is profiled the buffers it uses. */
  streams: readonly string[]
  uses: readonly BufferUse[]
}

/** One kernel launch; its parameters are slot `slot` of the stream's parameter blocks. */
interface DispatchCommand extends Launch {
  kind: 'dispatch'
  slot: number
}

export interface CopyCommand {
  kind: 'copy'
  source: GPUBuffer
  sourceOffset: number
  target: GPUBuffer
  targetOffset: number
  bytes: number
}

export interface WriteCommand {
  kind: 'write'
  target: GPUBuffer
  offset: number
  data: Uint8Array<ArrayBuffer>
}

export type Command = DispatchCommand | CopyCommand | WriteCommand

/** Parameter blocks of dispatches, packed on the host as one memory seen as u32, i32 and f32. */
interface ParamBlocks {
  readonly u32: Uint32Array<ArrayBuffer>
  readonly i32: Int32Array
  readonly f32: Float32Array
}

/** What a stream held when it was taken for submission. */
export interface RecordedStream {
  stream: string
  commands: Command[]
  params: ParamBlocks
  slots: number
}

/**
 * An ordered recording of commands that becomes one command buffer. Ops record into the device's current stream; nothing
 * reaches the GPU before `device.flush()`.
 */
export class Stream {
  readonly name: string
  #commands: Command[] = []
  #params = NO_BLOCKS
  #slots = 0

  constructor(name: string) {
    this.name = name
  }

  /** Commands recorded and not yet taken. */
  get length(): number {
    return this.#commands.length
  }

  /** Dispatches recorded and not yet taken. */
  get slots(): number {
    return this.#slots
  }

  /** The parameter memory and the word at which the next dispatch packs its block. */
  nextBlock(): { params: ParamBlocks; word: number } {
    if ((this.#slots + 1) * SLOT_WORDS > this.#params.u32.length) {
      const larger = takeBlocks(Math.max(64, 2 * this.#slots))
      larger.u32.set(this.#params.u32.subarray(0, this.#slots * SLOT_WORDS))
      giveBlocks(this.#params)
      this.#params = larger
    }
    return { params: this.#params, word: this.#slots * SLOT_WORDS }
  }

  /** Records a dispatch whose block was packed at `nextBlock()`. */
  dispatch({ kernel, bindGroup, grid, op, streams, uses }: Launch): void {
    this.#commands.push({ kind: 'dispatch', slot: this.#slots++, kernel, bindGroup, grid, op, streams, uses })
  }

  record(command: CopyCommand | WriteCommand): void {
    this.#commands.push(command)
  }

  /** Hands over what was recorded and starts anew. Whoever has submitted it gives the blocks back with `giveBlocks`. */
  take(): RecordedStream {
    const recording = { stream: this.name, commands: this.#commands, params: this.#params, slots: this.#slots }
    this.#commands = []
    this.#params = NO_BLOCKS
    this.#slots = 0
    return recording
  }
}

function paramBlocks(slots: number): ParamBlocks {
  const memory = new ArrayBuffer(slots * PARAM_SLOT)
  return { u32: new Uint32Array(memory), i32: new Int32Array(memory), f32: new Float32Array(memory) }
}

const NO_BLOCKS = paramBlocks(0)

/** Blocks that were submitted: used again, since memory of arrays is what the garbage collector is slow at. */
const spare: ParamBlocks[] = []
const MOST_SPARE = 16

function takeBlocks(slots: number): ParamBlocks {
  const at = spare.findIndex(({ u32 }) => u32.length >= slots * SLOT_WORDS)
  return at < 0 ? paramBlocks(slots) : spare.splice(at, 1)[0]!
}

/** Takes blocks back whose content the driver has. */
export function giveBlocks(blocks: ParamBlocks): void {
  if (blocks !== NO_BLOCKS && spare.length < MOST_SPARE) spare.push(blocks)
}
