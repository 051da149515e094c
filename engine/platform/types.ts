import { refusal } from '../base/checks.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'

/** What a device is asked for. */
export interface DeviceRequest {
  /**
   * `gpu` (hardware only), `lavapipe`, `swiftshader`, or a part of an adapter's name. Default: the environment variable
   * PARAFORMER_ADAPTER, else hardware, then the system's software driver, then SwiftShader.
   */
  adapter?: string | undefined
  powerPreference?: GPUPowerPreference | undefined
  /** WebGPU features to require, beyond those the engine takes when they are there. */
  features?: readonly GPUFeatureName[] | undefined
}

const REQUEST: OptionNames<DeviceRequest> = { adapter: true, powerPreference: true, features: true }
const POWER: readonly unknown[] = [undefined, 'low-power', 'high-performance']

/** @throws ArgumentError for an unknown option, or a value of a wrong kind */
export function checkRequest(op: string, request: DeviceRequest): void {
  checkOptions(op, request, REQUEST)
  const { adapter, powerPreference, features } = request
  if (adapter !== undefined && typeof adapter !== 'string') throw refusal(op, adapter, 'a text', 'adapter')
  if (!POWER.includes(powerPreference)) {
    throw refusal(op, powerPreference, "'low-power' or 'high-performance'", 'powerPreference')
  }
  const listed = Array.isArray(features) && features.every((name) => typeof name === 'string')
  if (features !== undefined && !listed) throw refusal(op, features, 'a list of names of WebGPU features', 'features')
}

/** Dawn's experimental feature; WebGPU's types do not know it yet. */
export const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix' as GPUFeatureName

/** An adapter in words. */
export interface AdapterSummary {
  /** Such as `llvmpipe-llvm-15-0-6-256-bits`. */
  name: string
  vendor: string
  architecture: string
  /** Driver and version, as far as the platform tells. */
  driver: string
  /** No real GPU behind it. */
  software: boolean
  /** Both 0 where the adapter has no subgroups. */
  subgroupMinSize: number
  subgroupMaxSize: number
  /** Its subgroups multiply 16 x 16 matrices of float16 with float32 sums. */
  subgroupMatrix: boolean
}

/** An adapter with all that it offers. */
export interface AdapterReport extends AdapterSummary {
  features: string[]
  limits: Record<string, number>
}

/** A GPUDevice and the adapter it came from, in words. */
export interface OpenedDevice {
  device: GPUDevice
  summary: AdapterSummary
  /** Bind groups that the driver has room for, in this process; Infinity where nothing is known of a limit. */
  bindGroupLimit: number
}

/** A decoded image: uint8, row-major [height, width, channels], 1 channel (gray) or 3 (RGB). */
export interface DecodedImage {
  data: Uint8Array
  channels: 1 | 3
  width: number
  height: number
}

/** What a file can be written from; pieces are written one after the other. */
export type Content = Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/** A file that is read in pieces. */
export interface OpenFile {
  /** In bytes. */
  readonly size: number
  /** Bytes in memory of their own. @throws UserError in one line when there are not so many, or no memory for them */
  read(offset: number, length: number): Promise<ArrayBuffer>
  close(): Promise<void>
}

/** Reading and writing files, where the platform has them. */
export interface Files {
  /** Opens a file (in a browser: what a URL answers) to read parts of it; what has no length is read whole. @throws UserError in one line */
  open(path: string): Promise<OpenFile>
  /**
   * The whole file (in a browser: what a URL answers).
   * @param most bytes; of what is longer nothing is kept
   * @throws UserError in one line
   */
  read(path: string, most?: number): Promise<Uint8Array>
  /**
   * Old content or new, never a part, through links; missing folders are made. Pipes, devices and open files are written into.
   * @throws UserError in one line, in a browser always
   */
  write(path: string, content: Content): Promise<void>
  /** Checks that `write` can, without changing what is there. @throws UserError as `write` would */
  checkWritable(path: string): Promise<void>
}

/** Small texts that outlive the process, in a place for things that can be made again. */
export interface Texts {
  /** Undefined where there is none of that name, or nothing can be read. */
  read(name: string): Promise<string | undefined>
  /** Old text or new, never a part. @throws UserError in one line */
  write(name: string, text: string): Promise<void>
}

/** A module that runs as a process of its own. */
export interface ModuleProcess {
  /** Such as `process 1234`. */
  readonly name: string
  /** Settles when it is gone, with how it ended, such as `was ended by SIGKILL`. */
  readonly ended: Promise<string>
  /** Sends what the structured clone algorithm takes. */
  send(message: unknown): void
  /** Lets it end, and waits until it has. */
  end(): Promise<void>
  /** Ends it at once, whatever it does. */
  kill(): void
}

/** What differs between Node and a browser. */
export interface Platform {
  /** Opens the device that a request means. @throws UserError in one line that says what there is, or what to install */
  openDevice(request: DeviceRequest): Promise<OpenedDevice>
  /** Every adapter that `openDevice` can take, the one that it takes by default first. */
  listAdapters(): Promise<AdapterReport[]>
  /** Starts a built module as a process of its own. @throws UserError where there is none, in a browser always */
  startProcess(entry: URL, onMessage: (message: unknown) => void): ModuleProcess
  /**
   * Decodes a PNG, JPEG, WebP or GIF file as its orientation says, without its colour profile: 16-bit samples rounded to 8, transparent
   * pixels over black, CMYK as light times black, of an animation the first frame.
   * @param mostPixels an image that claims more is not decoded
   * @throws Error with the decoder's words for what is corrupt, truncated or too large
   */
  decodeImage(bytes: Uint8Array, mostPixels: number): Promise<DecodedImage>
  /** Collects garbage now or soon, so that the driver gets back what dropped objects hold. */
  collectGarbage(): void
  /** Learns that work was submitted, whose answer may come soon. */
  expectAnswer(): void
  readonly files: Files
  readonly texts: Texts
  /** Names the implementation of WebGPU, as far as its speed depends on it. */
  readonly runtime: string
}
