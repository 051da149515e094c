import { UserError } from '../base/errors.ts'
import { matches, report, requestFrom, summarize } from './select.ts'
import type { AdapterReport, DecodedImage, DeviceRequest, ModuleProcess, OpenedDevice, Platform } from './types.ts'

export { files } from './browserFiles.ts'
export { texts } from './indexedDB.ts'

export const runtime = navigator.userAgent

export async function openDevice(request: DeviceRequest): Promise<OpenedDevice> {
  const adapter = await requestAdapter(request.powerPreference)
  if (!adapter) throw new UserError('no WebGPU adapter: take a browser with WebGPU and turn hardware acceleration on')
  const summary = summarize(adapter)
  if (!matches(request.adapter, summary)) {
    throw new UserError(`no adapter is "${request.adapter}"; this browser offers ${summary.name}`)
  }
  return { device: await requestFrom(adapter, request), summary, bindGroupLimit: Number.POSITIVE_INFINITY }
}

/** Makes the browser collect garbage soon: it counts the memory of these arrays, which takes no real memory while nothing touches it. */
export function collectGarbage(): void {
  for (let i = 0; i < 4; i++) new ArrayBuffer(64 << 20)
}

/** Does nothing, because a browser needs no polling. */
export function expectAnswer(): void {}

export function startProcess(): ModuleProcess {
  throw new UserError('a page in a browser has no processes; keep all devices in it')
}

/** Lists the adapters of both power preferences, which often are one and the same. */
export async function listAdapters(): Promise<AdapterReport[]> {
  const reports: AdapterReport[] = []
  for (const preference of ['high-performance', 'low-power'] as const) {
    const adapter = await requestAdapter(preference)
    if (!adapter) continue
    const found = report(adapter)
    if (!reports.some(({ name }) => name === found.name)) reports.push(found)
  }
  return reports
}

async function requestAdapter(powerPreference: GPUPowerPreference | undefined): Promise<GPUAdapter | null> {
  // Browsers without WebGPU and pages without a secure context have no `navigator.gpu`.
  return (navigator.gpu as GPU | undefined)?.requestAdapter(powerPreference ? { powerPreference } : {}) ?? null
}

/** Decodes an image file with the browser's decoder, which also rounds 16-bit samples. See `Platform.decodeImage`. */
export async function decodeImage(bytes: Uint8Array, mostPixels: number): Promise<DecodedImage> {
  const blob = new Blob([bytes as Uint8Array<ArrayBuffer>])
  // The pixels are counted after decoding, but the browser has limits of its own before it.
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', imageOrientation: 'from-image' })
  try {
    const { width, height } = bitmap
    if (width * height > mostPixels) throw new Error(`${width}x${height} pixels`)
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!
    context.fillStyle = 'black'
    context.fillRect(0, 0, width, height)
    context.drawImage(bitmap, 0, 0)
    const { data: rgba } = context.getImageData(0, 0, width, height)
    const data = new Uint8Array(width * height * 3)
    for (let from = 0, to = 0; to < data.length; from += 4) {
      for (let c = 0; c < 3; c++) data[to++] = rgba[from + c]!
    }
    return { data, channels: 3, width, height }
  } finally {
    bitmap.close()
  }
}

/** Reads the sides of an image, which is decoded for it. */
export const imageSides: Platform['imageSides'] = async (bytes) => {
  const bitmap = await createImageBitmap(new Blob([bytes as Uint8Array<ArrayBuffer>]))
  const { width, height } = bitmap
  bitmap.close()
  return { width, height }
}

/** Does nothing, because every browser decodes images. */
export async function requireDecoder(): Promise<void> {}

export const join: Platform['join'] = (...parts) => parts.filter((part) => part !== '').join('/')

export const sha256: Platform['sha256'] = async (bytes) => {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Unpacks gzip with the browser's own unpacker. See `Platform.gunzip`. */
export const gunzip: Platform['gunzip'] = async (bytes, { most = Number.POSITIVE_INFINITY, partial = false } = {}) => {
  const unpacked = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream('gzip'))
  const reader = unpacked.getReader()
  const pieces: Uint8Array<ArrayBuffer>[] = []
  let length = 0
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      pieces.push(next.value)
      length += next.value.length
      if (length > most) return undefined
    }
  } catch (error) {
    if (!partial) throw error
  } finally {
    await reader.cancel().catch(() => {})
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer())
}
