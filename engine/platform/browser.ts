import { reason, UserError } from '../base/errors.ts'
import { matches, report, requestFrom, summarize } from './select.ts'
import type { AdapterReport, DecodedImage, DeviceRequest, Files, ModuleProcess, OpenedDevice } from './types.ts'

export { texts } from './indexedDB.ts'

export const runtime = navigator.userAgent

async function noFiles(path: string): Promise<never> {
  throw new UserError(`${path}: cannot be written: a page in a browser has no files`)
}

async function fetchFile(path: string): Promise<Response> {
  const response = await fetch(path).catch((error: unknown) => {
    throw new UserError(`${path}: cannot be read (${reason(error)})`)
  })
  if (!response.ok) throw new UserError(`${path}: cannot be read (${response.status} ${response.statusText})`)
  return response
}

export const files: Files = {
  async open(path) {
    // A browser keeps large blobs outside the page's memory.
    const blob = await (await fetchFile(path)).blob()
    return {
      size: blob.size,
      read: (offset, length) => blob.slice(offset, offset + length).arrayBuffer(),
      close: async () => {},
    }
  },
  async read(path, most = Number.POSITIVE_INFINITY) {
    const bytes = new Uint8Array(await (await fetchFile(path)).arrayBuffer())
    if (bytes.length > most) throw new UserError(`${path}: longer than ${most} bytes, which no such file is; check the address`)
    return bytes
  },
  write: noFiles,
  checkWritable: noFiles,
}

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
