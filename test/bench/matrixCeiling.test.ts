// The software drivers lack subgroup matrices, but Dawn's null backend checks the WGSL as for a device that has them.
import { create, globals } from 'webgpu'
import { chainsOf, MATRIX_THREADS, type Matrix, matrix, matrixRoom } from '../../bench/ceilingKernels.ts'
import { kernelTargets } from '../../bench/kernelTargets.ts'
import { SUBGROUP_MATRIX } from '../../engine/platform/types.ts'
import { PipelineCache } from '../../engine/submit/pipelines.ts'
import type { Capabilities } from '../../kernels/spec.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('the ceiling of tensor cores')

// Dawn's objects must stay referenced, or the garbage collector takes them.
Object.assign(globalThis, globals)
const instance = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis'])
const adapter = (await instance.requestAdapter())!
const device = await adapter.requestDevice({ requiredFeatures: [SUBGROUP_MATRIX, 'subgroups', 'shader-f16'] })
const { subgroupMinSize, subgroupMaxSize } = adapter.info as GPUAdapterInfo & Record<string, number>

test('its pipelines are created, and it counts what subgroups multiply', async () => {
  const problem: Matrix = {
    rounds: 8,
    workgroups: 2,
    subgroupMinSize: subgroupMinSize!,
    subgroupMaxSize: Math.min(MATRIX_THREADS, subgroupMaxSize!),
  }
  if (matrix.variants.length < 2) throw new Error('there is nothing to choose from')
  const pipelines = new PipelineCache(device)
  for (const variant of matrix.variants) {
    await pipelines.get(matrix, variant, variant.constants!(problem, {} as Capabilities)).ready
    if (!(chainsOf(variant) >= 1)) throw new Error(variant.name)
  }
  const nvidia: Matrix = { rounds: 10, workgroups: 3, subgroupMinSize: 32, subgroupMaxSize: 32 }
  if (matrix.flops(nvidia) !== 10 * 3 * 4 * 2 * 16 ** 3) throw new Error(`${matrix.flops(nvidia)}`)
  if (matrixRoom(nvidia) !== 4) throw new Error(`${matrixRoom(nvidia)}`)
})

test('kernels that use them are held against it, and no others', () => {
  const gpu: Capabilities = {
    software: false,
    gathersPrivate: false,
    subgroupMinSize: 32,
    subgroupMaxSize: 32,
    subgroupMatrix: true,
    f16: true,
    maxInvocations: 1024,
    maxWorkgroupMemory: 49152,
    maxWorkgroups: 65535,
  }
  const targets = kernelTargets(gpu)
  const wrong = targets.filter(({ unit, variant }) => (unit === 'matrix') !== variant.startsWith('subgroupMatrix'))
  if (wrong.length > 0) throw new Error(wrong.map(({ name, variant }) => `${name}/${variant}`).join(', '))
  if (targets.filter(({ unit }) => unit === 'matrix').length < 4) throw new Error('too few kernels use them')
})

test('ends', async () => {
  device.destroy()
  await device.lost
  // The last test names them, so that the garbage collector does not take them earlier.
  if (!instance || !adapter) throw new Error('collected')
})

run()
