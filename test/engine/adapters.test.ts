import * as assert from 'uvu/assert'
import { files, listAdapters, openDevice } from '#platform'
import { UserError } from '../../engine/base/errors.ts'
import { describe, isSoftware, matches, normalize } from '../../engine/platform/select.ts'
import type { AdapterSummary } from '../../engine/platform/types.ts'
import { suite } from '../harness/suite.ts'

// Adapters and devices, as they are in both Node and browsers.
const { test, run } = suite('adapters')
const adapters = await listAdapters()

async function userError(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error('did not throw'),
    (thrown: unknown) => thrown,
  )
  assert.instance(error, UserError)
  assert.not((error as UserError).message.includes('\n'), 'one line')
  return (error as UserError).message
}

test('names as WebGPU spells them', () => {
  assert.is(normalize('llvmpipe (LLVM 15.0.6, 256 bits)'), 'llvmpipe-llvm-15-0-6-256-bits')
  assert.is(normalize('NVIDIA H100 80GB HBM3'), 'nvidia-h100-80gb-hbm3')
})

test('which adapter a word means', () => {
  const lavapipe = { name: 'llvmpipe (LLVM 15.0.6, 256 bits)', software: true }
  const swiftshader = { name: 'SwiftShader Device (Subzero)', software: true }
  const h100 = { name: 'NVIDIA H100 80GB HBM3', software: false }
  const accepted = (asked: string | undefined) => [lavapipe, swiftshader, h100].filter((adapter) => matches(asked, adapter))
  assert.equal(accepted(undefined), [lavapipe, swiftshader, h100])
  assert.equal(accepted('gpu'), [h100])
  assert.equal(accepted('lavapipe'), [lavapipe])
  assert.equal(accepted('swiftshader'), [swiftshader])
  assert.equal(accepted('H100'), [h100])
  assert.equal(accepted('nvidia-h100'), [h100])
  assert.equal(accepted('LLVM 15'), [lavapipe])
  assert.equal(accepted('radeon'), [])
  for (const adapter of [lavapipe, swiftshader, h100]) assert.is(isSoftware(adapter.name), adapter.software)
})

test('one line on what was taken', () => {
  const base: AdapterSummary = {
    name: 'swiftshader-device-subzero',
    vendor: 'google',
    architecture: 'swiftshader',
    driver: 'SwiftShader driver 5.0.0',
    software: true,
    subgroupMinSize: 4,
    subgroupMaxSize: 4,
    subgroupMatrix: false,
  }
  assert.match(describe(base), /SwiftShader.*setup --lavapipe/)
  assert.match(describe({ ...base, name: 'llvmpipe-llvm-15' }), /llvmpipe-llvm-15.*CPU/)
  const gpu = { ...base, name: 'nvidia-h100', driver: 'NVIDIA: 550.1', software: false }
  assert.is(describe(gpu), 'WebGPU on nvidia-h100 (NVIDIA: 550.1)')
  assert.is(describe({ ...gpu, driver: '' }), 'WebGPU on nvidia-h100')
})

test('every adapter is listed with features, limits and subgroup sizes', () => {
  assert.ok(adapters.length > 0)
  assert.is(new Set(adapters.map(({ name, driver }) => name + driver)).size, adapters.length)
  for (const { name, features, limits, subgroupMinSize, subgroupMaxSize } of adapters) {
    assert.ok(limits.maxBufferSize! >= 256 * 2 ** 20, name)
    assert.ok(limits.maxStorageBuffersPerShaderStage! >= 8, name)
    assert.is(features.includes('subgroups'), subgroupMinSize > 0)
    assert.ok(subgroupMaxSize >= subgroupMinSize)
  }
})

test('a device has the limits and the features of its adapter', async () => {
  const { device, summary } = await openDevice({})
  const listed = adapters.find(({ name }) => name === summary.name)!
  for (const limit of [
    'maxBufferSize',
    'maxStorageBufferBindingSize',
    'maxComputeInvocationsPerWorkgroup',
    'maxComputeWorkgroupStorageSize',
  ] as const) {
    assert.is(device.limits[limit], listed.limits[limit], limit)
  }
  for (const feature of ['subgroups', 'shader-f16', 'timestamp-query']) {
    assert.is(device.features.has(feature), listed.features.includes(feature), feature)
  }
  device.destroy()
})

test('an unknown adapter and a lacking feature: one line with what there is', async () => {
  const line = await userError(openDevice({ adapter: 'radeon 9800' }))
  assert.ok(line.startsWith('no adapter is "radeon 9800"; '), line)
  for (const { name } of adapters) assert.ok(line.includes(name), line)
  const lacking = openDevice({ features: ['no-such-feature' as GPUFeatureName] })
  assert.match(await userError(lacking), /has no feature no-such-feature; it has .*core/)
})

test('files: a whole one, and none', async () => {
  const bytes = await files.read('test/golden/ops.safetensors')
  assert.is(bytes[8], '{'.charCodeAt(0), 'the header of safetensors')
  assert.match(await userError(files.read('test/golden/none.safetensors')), /none\.safetensors: /)
  assert.match(await userError(files.write('/proc/nowhere/file', Uint8Array.of(1))), /nowhere\/file: cannot be written/)
})

run()
