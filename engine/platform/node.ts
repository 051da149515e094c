import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { UserError } from '../base/errors.ts'
import { type Found, swiftShaderAdapter, systemAdapter, systemNames } from './dawn.ts'
import { checkWritable, writeFile } from './files.ts'
import { entries, identityOf } from './folder.ts'
import { DAWN } from './keptDawn.ts'
import { slowPolling } from './polling.ts'
import { openFile, readWhole } from './read.ts'
import { isSoftware, matches, report, requestFrom, summarize } from './select.ts'
import type { AdapterReport, AdapterSummary, DeviceRequest, Files, OpenedDevice } from './types.ts'

export { texts } from './cache.ts'
export { sha256 } from './folder.ts'
export { gunzip } from './gunzip.ts'
export { decodeImage, imageSides, requireDecoder } from './images.ts'
export { expectAnswer } from './polling.ts'
export { startProcess } from './process.ts'

export const runtime = `webgpu ${versionOfDawn()}`

function versionOfDawn(): string {
  try {
    return (createRequire(import.meta.url)('webgpu/package.json') as { version: string }).version
  } catch {
    // The cache may keep this version.
    return DAWN.version
  }
}

export { join }

export const files: Files = { open: openFile, read: readWhole, write: writeFile, checkWritable, entries, identityOf }

/**
 * Keeps devices and their adapters alive: Dawn crashes or hangs when one is collected while the GPU still owes an answer, and at the end of
 * the process even after `destroy()`. The last few lost devices stay; earlier ones are collected with their threads.
 */
const opened = new Map<GPUDevice, GPUAdapter>()
const gone: GPUDevice[] = []
const KEPT_GONE = 4

function keep(device: GPUDevice, adapter: GPUAdapter): void {
  opened.set(device, adapter)
  device.lost.then(() => {
    gone.push(device)
    if (gone.length > KEPT_GONE) opened.delete(gone.shift()!)
  })
}

export async function openDevice(request: DeviceRequest): Promise<OpenedDevice> {
  const asked = request.adapter || process.env.PARAFORMER_ADAPTER || undefined
  const found = await findAdapter(asked, request)
  if (!found) throw new UserError(await noAdapter(asked))
  const { adapter } = found
  const device = await requestFrom(adapter, request)
  keep(device, adapter)
  const summary = summarize(adapter)
  if (summary.software) slowPolling(device)
  return { device, summary, bindGroupLimit: await bindGroupLimitOf(summary) }
}

/**
 * Returns the number of bind groups that the driver allows. Lavapipe maps memory for each, and the process ends by SIGSEGV when Linux allows
 * no more mappings. Some are left for other uses.
 */
async function bindGroupLimitOf({ name }: AdapterSummary): Promise<number> {
  if (!name.includes('llvmpipe')) return Number.POSITIVE_INFINITY
  const allowed = Number(await readFile('/proc/sys/vm/max_map_count', 'utf8').catch(() => '65530'))
  return Math.floor(0.95 * allowed)
}

export async function listAdapters(): Promise<AdapterReport[]> {
  const reports: AdapterReport[] = []
  const found = await Promise.all((await systemNames()).map((name) => systemAdapter({}, name)))
  const bundled = await swiftShaderAdapter({}).catch((error: unknown) => {
    // Where SwiftShader cannot be unpacked, the other adapters still work.
    if (found.length === 0) throw error
    return undefined
  })
  for (const candidate of [...found, bundled]) {
    if (!candidate) continue
    const added = report(candidate.adapter)
    // VK_DRIVER_FILES may name a SwiftShader too, which is then found twice.
    if (!reports.some(({ name, driver }) => name === added.name && driver === added.driver)) reports.push(added)
  }
  return reports
}

async function findAdapter(asked: string | undefined, request: DeviceRequest): Promise<Found | undefined> {
  // SwiftShader is taken without a search of the system's drivers, which is slow.
  const bundled = asked === 'swiftshader' ? await swiftShaderAdapter(request) : undefined
  if (bundled) return bundled
  const takes = ({ adapter }: Found) => matches(asked, summarize(adapter))
  const first = await systemAdapter(request)
  if (first && takes(first)) return first
  if (first) {
    const name = (await systemNames()).find((name) => matches(asked, { name, software: isSoftware(name) }))
    if (name) return systemAdapter(request, name)
  }
  const last = await swiftShaderAdapter(request)
  return last && takes(last) ? last : undefined
}

/** Makes the message for a missing adapter. */
async function noAdapter(asked: string | undefined): Promise<string> {
  const names = (await listAdapters()).map(({ name }) => name)
  if (names.length > 0) return `no adapter is "${asked}"; there are: ${names.join(', ')}`
  return (
    'no WebGPU adapter: install a GPU driver with Vulkan, or a software device: npx paraformer setup fetches one (Linux on x64, ' +
    'without root), npx paraformer setup --lavapipe installs a faster one (Debian, Ubuntu)'
  )
}

let collect: (() => void) | undefined

/**
 * Collects garbage now, so that the driver gets back what dropped objects of WebGPU hold. Node counts only their few bytes of its own memory,
 * and may not collect them before the driver runs out of something.
 */
export function collectGarbage(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
    setFlagsFromString('--no-expose-gc')
  }
  collect()
}
