import { refusal } from '../base/checks.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'

/** The options of `requestDevice`. */
export interface DeviceRequest {
  /**
   * `gpu` (hardware only), `lavapipe`, `swiftshader`, or a part of an adapter's name. Default: the environment variable PARAFORMER_ADAPTER,
   * or else the first there is of hardware, the system's software driver and SwiftShader.
   */
  adapter?: string | undefined
  powerPreference?: GPUPowerPreference | undefined
  /** WebGPU features to require, besides those that the engine uses where the adapter has them. */
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

/** Dawn's experimental feature, which is not yet in WebGPU's types. */
export const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix' as GPUFeatureName

/** A description of an adapter. */
export interface AdapterSummary {
  /** The name in WebGPU's spelling, such as `llvmpipe-llvm-15-0-6-256-bits`. */
  name: string
  vendor: string
  architecture: string
  /** Driver and version, where the platform says them. */
  driver: string
  /** Whether the adapter computes on the CPU. */
  software: boolean
  /** Smallest and largest size of a subgroup; both are 0 where there are none. */
  subgroupMinSize: number
  subgroupMaxSize: number
  /** Whether its subgroups multiply 16 x 16 matrices of float16 with float32 sums. */
  subgroupMatrix: boolean
}

/** A description of an adapter, with its features and limits. */
export interface AdapterReport extends AdapterSummary {
  features: string[]
  limits: Record<string, number>
}

/** A GPUDevice, with the description of its adapter. */
export interface OpenedDevice {
  device: GPUDevice
  summary: AdapterSummary
  /** The number of bind groups that the driver allows in this process; Infinity where no limit is known. */
  bindGroupLimit: number
}

/** A decoded image: uint8, row-major [height, width, channels], 1 channel (gray) or 3 (RGB). */
export interface DecodedImage {
  data: Uint8Array
  channels: 1 | 3
  width: number
  height: number
}

/** The content of a file, whole or in pieces. */
export type Content = Uint8Array | string | Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/** A file that is read in pieces. */
export interface OpenFile {
  /** Length in bytes. */
  readonly size: number
  /** Reads bytes into new memory. @throws UserError in one line when the file has not so many, or there is no memory for them */
  read(offset: number, length: number): Promise<ArrayBuffer>
  close(): Promise<void>
}

/** An entry of a folder; links are followed. */
export interface FolderEntry {
  name: string
  kind: 'file' | 'folder' | 'other'
  /** Why it is neither a file nor a folder. */
  wrong?: string
}

/** Reads and writes files, where the platform has them. */
export interface Files {
  /** Opens a file, or a URL in a browser, to read parts of it. A pipe or device is read whole. @throws UserError in one line */
  open(path: string): Promise<OpenFile>
  /**
   * Reads a whole file, or a URL in a browser.
   * @param most the most bytes that it may have
   * @throws UserError in one line, also when it is longer
   */
  read(path: string, most?: number): Promise<Uint8Array>
  /**
   * Writes a file atomically: it has the old content or the new one, never a part. Links are followed, and missing folders made. Pipes,
   * devices and open files are written in place.
   * @throws FileError in one line; in a browser for paths that are not of the origin private file system (`opfs:NAME`)
   */
  write(path: string, content: Content): Promise<void>
  /** Lists a folder, in any order; in a browser one of the files that the page was given. @throws UserError in one line when it cannot be read */
  entries(path: string): Promise<FolderEntry[]>
  /** Returns what tells a folder from all others, whatever links lead to it. */
  identityOf(path: string): Promise<string>
  /** Checks that a file can be written, without changing it. @throws UserError as `write` would */
  checkWritable(path: string): Promise<void>
}

/** Keeps small texts that outlive the process and can be made again. */
export interface Texts {
  /** Reads a text; undefined where there is none of that name, or it cannot be read. */
  read(name: string): Promise<string | undefined>
  /** Writes a text atomically. @throws UserError in one line */
  write(name: string, text: string): Promise<void>
}

/** A module that runs as a process of its own. */
export interface ModuleProcess {
  /** A name for messages, such as `process 1234`. */
  readonly name: string
  /** Resolves when the process has ended, with the manner of its end, such as `was ended by SIGKILL`. */
  readonly ended: Promise<string>
  /** Sends the process a message, a value that the structured clone algorithm takes. */
  send(message: unknown): void
  /** Asks the process to end, and waits until it has ended. */
  end(): Promise<void>
  /** Kills the process at once. */
  kill(): void
}

/** The interface to Node or to a browser, which both implement. */
export interface Platform {
  /** Opens the device that a request asks for. @throws UserError in one line that says what there is, or what to install */
  openDevice(request: DeviceRequest): Promise<OpenedDevice>
  /** Lists every adapter that `openDevice` can open, with the default one first. */
  listAdapters(): Promise<AdapterReport[]>
  /** Starts a built module as a process of its own. @throws UserError when its file is missing; in a browser always */
  startProcess(entry: URL, onMessage: (message: unknown) => void): ModuleProcess
  /**
   * Decodes a PNG, JPEG, WebP or GIF file, or the first frame of an animation. It applies the orientation but not the colour profile, rounds
   * 16-bit samples to 8 bits, puts transparent pixels over black, and converts CMYK as the light that ink lets through.
   * @param mostPixels the most pixels that the image may have
   * @throws Error with the decoder's message for a file that is corrupt, truncated or too large
   */
  decodeImage(bytes: Uint8Array, mostPixels: number): Promise<DecodedImage>
  /** Reads the sides of an image file. @throws Error when it is malformed */
  imageSides(bytes: Uint8Array, mostPixels: number): Promise<{ width: number; height: number }>
  /** @throws UserError when no image can be decoded */
  requireDecoder(): Promise<void>
  /** Joins a folder and what is in it to a path. */
  join(folder: string, ...names: string[]): string
  /** Returns the SHA-256 of bytes in hexadecimal. */
  sha256(bytes: Uint8Array): Promise<string>
  /**
   * Unpacks gzip.
   * @param options.most the most bytes that it may unpack to
   * @param options.partial whether the input may end early; what is there is unpacked then
   * @returns undefined when it unpacks to more than `most`
   * @throws Error of the unpacker for corrupt and truncated input
   */
  gunzip(bytes: Uint8Array, options?: { most?: number; partial?: boolean }): Promise<Uint8Array | undefined>
  /** Collects garbage now or soon, so that the driver gets back what dropped objects hold. */
  collectGarbage(): void
  /** Learns that work was submitted, whose answer may come soon. @param ops the number of dispatches that ops recorded one by one */
  expectAnswer(ops: number): void
  readonly files: Files
  readonly texts: Texts
  /** Names the implementation of WebGPU, as far as its speed depends on it. */
  readonly runtime: string
}
