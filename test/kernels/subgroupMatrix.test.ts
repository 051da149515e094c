// The software drivers lack subgroup matrices. Dawn's null backend checks the WGSL as for a device that has them. With emulated
// matrices the kernels also run on software devices that have float16.
import { env } from 'node:process'
import { create } from 'webgpu'
import { SUBGROUP_MATRIX } from '../../engine/platform/types.ts'
import { PipelineCache } from '../../engine/submit/pipelines.ts'
import { attentionRows, keyValueGradientRows, queryGradientRows } from '../../kernels/attention/attention.ts'
import { entries as attentionEntries } from '../../kernels/attention/index.ts'
import type { AttentionShape } from '../../kernels/attention/shape.ts'
import { matrixVariant as attentionMatrixVariant, type RowKernel } from '../../kernels/attention/variants.ts'
import { entries as matmulEntries } from '../../kernels/matmul/index.ts'
import { matrixVariant } from '../../kernels/matmul/subgroupMatrix.ts'
import type { Capabilities, Constants, KernelCase, KernelEntry, Variant } from '../../kernels/spec.ts'
import { specialize } from '../../kernels/specialize.ts'
import { backward, W } from '../harness/attentionScenarios.ts'
import { kernelDevice } from '../harness/device.ts'
import { casesOfFewPipelines } from '../harness/fewPipelines.ts'
import { checkKernel } from '../harness/kernel.ts'
import { checkBranches } from '../harness/kernelBranches.ts'
import { emulateMatrices } from '../harness/matrixEmulation.ts'
import { type SpecialCase, testSpecial } from '../harness/specialValues.ts'
import { suite } from '../harness/suite.ts'

const on = await kernelDevice()
const { test, run } = suite(`subgroup matrices on ${on.summary.name}`)

/** Capabilities of a GPU with subgroups of 32, such as NVIDIA's. */
const gpu: Capabilities = {
  ...on.capabilities,
  software: false,
  gathersPrivate: false,
  f16: true,
  subgroupMatrix: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  maxInvocations: 1024,
  maxWorkgroupMemory: 49152,
}

function casesFor({ cases }: KernelEntry, variant: Variant<any>, device: Capabilities): KernelCase[] {
  return cases.filter((kase) => !kase.bench && variant.supports!(device, kase.problem))
}

/** The different constants of all cases that run on a device. */
function constantsFor(entry: KernelEntry, variant: Variant<any>, device: Capabilities): Constants[] {
  const sets = casesFor(entry, variant, device).map((kase) => JSON.stringify(variant.constants!(kase.problem, device)))
  if (sets.length === 0) throw new Error(`${entry.spec.name}/${variant.name}: no case asks for it`)
  return [...new Set(sets)].map((text) => JSON.parse(text) as Constants)
}

/** A variant as for very many keys or queries, with sums of each step added up precisely. */
function withLongSums(variant: Variant<any>): Variant<any> {
  const constants: Variant<any>['constants'] = (problem, device) => ({
    ...variant.constants!(problem, device),
    LONG: true,
    FOLD: 32,
  })
  return { ...variant, name: `${variant.name}, long sums`, constants }
}

type Special = Omit<SpecialCase, 'kernel' | 'name' | 'variant'>

/** A kernel to emulate, with a small variant and the names of its cases. */
interface Emulated {
  variant: Variant<any>
  /** A smaller variant, where the large subgroups of the null backend leave no room for `variant`. */
  smaller?: Variant<any>
  cases: RegExp
  /** A case with special values. */
  special?: Special
}

interface Kernel {
  entry: KernelEntry
  /** An expression for 16 that keeps compilers from unrolling loops. */
  size: string
  emulated: Emulated[]
}

/** Attention by two subgroups a workgroup, each with a number of matrices of rows. */
const rows = <P extends AttentionShape>(kernel: RowKernel<P>, matrices: 1 | 2 = 1): Variant<any> =>
  attentionMatrixVariant<any>(`${matrices} x 32 rows`, () => ({ subgroups: 2, matrices }), kernel as RowKernel<any>)

/** Special values for attention and its gradients, in their order. */
function specials(): [attention: Special, ofQueries: Special, ofKeys: Special] {
  const { problem, size, operands, ofQueries, lse, delta } = backward(W)
  const half = { problem: { ...problem, dtype: 'f16' } }
  const { q, k, v, dOut } = operands
  const mask = [0]
  return [
    { ...half, inputs: { q, k, v, mask }, outputs: { out: size, lse: lse.length }, tolerance: 2e-3 },
    { ...half, inputs: ofQueries, outputs: { dq: size }, tolerance: 0.5 },
    { ...half, inputs: { q, k, v, dOut, lse, delta, mask }, outputs: { dkv: 2 * size }, tolerance: 1e-2 },
  ]
}

const [ofAttention, ...ofGradients] = specials()

const kernels: Kernel[] = [
  {
    entry: matmulEntries[0]!,
    size: 'min(16u, params.m + 15u)',
    emulated: [
      {
        variant: matrixVariant('32 x 32', { subgroups: [2, 1], fragments: [1, 2], depth: 16 }),
        cases: /^(67x33x200|36x68x72|1x1x1|A repeats|129x50x130|33x31x129|40x44x|33x20x500)/,
      },
      { variant: matrixVariant('64 x 32', { subgroups: [2, 1], fragments: [2, 2], depth: 32 }), cases: /^67x33x200 NT/ },
    ],
  },
  {
    entry: attentionEntries[0]!,
    size: 'min(16u, params.width + 15u)',
    emulated: [
      { variant: rows(attentionRows), cases: /./, special: ofAttention },
      { variant: withLongSums(rows(attentionRows)), cases: /^\[1,2,50.*f16/ },
      { variant: rows(attentionRows, 2), cases: /^\[(2,5,33|1,2,50).*f16/, special: ofAttention },
      { variant: withLongSums(rows(attentionRows, 2)), cases: /^\[1,2,50.*f16/ },
    ],
  },
  // Emulated gradients take long to compile, so there is one case for each way to load operands.
  ...[queryGradientRows, keyValueGradientRows].map((kernel, i) => ({
    entry: attentionEntries[1 + i]!,
    size: 'min(16u, params.width + 15u)',
    emulated: [
      {
        variant: attentionEntries[1 + i]!.spec.variants.find(({ name }) => name === 'subgroupMatrix')!,
        smaller: rows<any>(kernel),
        cases: /^\[(1,1,257|2,3,1)/,
      },
      { variant: rows<any>(kernel), cases: /^\[2,5,33/, special: ofGradients[i]! },
      { variant: withLongSums(rows<any>(kernel)), cases: /^\[1,2,31/ },
    ],
  })),
]

// Dawn's objects must stay referenced.
const instance = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis'])
const adapter = (await instance.requestAdapter())!
const nullDevice = await adapter.requestDevice({ requiredFeatures: [SUBGROUP_MATRIX, 'subgroups', 'shader-f16'] })
const pipelines = new PipelineCache(nullDevice)
const nullCapabilities: Capabilities = {
  ...gpu,
  subgroupMaxSize: adapter.info.subgroupMaxSize!,
  maxInvocations: nullDevice.limits.maxComputeInvocationsPerWorkgroup,
  maxWorkgroupMemory: nullDevice.limits.maxComputeWorkgroupStorageSize,
}

async function messagesOf(code: string): Promise<string> {
  nullDevice.pushErrorScope('validation')
  const { messages } = await nullDevice.createShaderModule({ code }).getCompilationInfo()
  await nullDevice.popErrorScope()
  return messages.map(({ lineNum, message }) => `line ${lineNum}: ${message}`).join('; ')
}

for (const { entry, size, emulated } of kernels) {
  const { spec } = entry
  for (const variant of spec.variants.filter(({ source }) => source.includes('subgroup_matrix_left'))) {
    test(`${spec.name}/${variant.name} is valid WGSL, whatever the problem`, async () => {
      for (const constants of constantsFor(entry, variant, gpu)) {
        const messages = await messagesOf(specialize(variant.source, constants))
        if (messages) throw new Error(`${JSON.stringify(constants)}: ${messages}`)
      }
    })
    test(`${spec.name}/${variant.name} with a matrix of the wrong kind is not`, async () => {
      const constants = constantsFor(entry, variant, gpu)[0]!
      const wrong = specialize(variant.source, constants).replace('subgroup_matrix_left', 'subgroup_matrix_right')
      if (!(await messagesOf(wrong))) throw new Error('the null backend checks nothing')
    })
  }
  for (const { variant, smaller = variant, cases, special } of emulated) {
    test(`${spec.name}, ${smaller.name}: pipelines are created`, async () => {
      for (const constants of constantsFor(entry, smaller, nullCapabilities)) {
        await pipelines.get(spec, smaller, constants).ready
      }
    })
    // The emulation has subgroups of 32 on every device, so it runs once.
    if (!on.capabilities.f16 || env.PARAFORMER_SUBGROUPS_ONLY === '1') continue
    // Emulated gradients take longest to compile, so npm test has the usual one of the two.
    if (env.PARAFORMER_PIPELINES && entry !== attentionEntries[0] && variant.name.includes('long sums')) continue
    const standIn = { ...variant, source: emulateMatrices(variant.source, size) }
    const device = { ...on, capabilities: { ...on.capabilities, subgroupMaxSize: 32 } }
    const asked = casesFor(entry, variant, gpu).filter(({ name }) => cases.test(name))
    const constantsOf = (kase: KernelCase) => variant.constants!(kase.problem, gpu)
    const chosen = env.PARAFORMER_PIPELINES ? casesOfFewPipelines(asked, constantsOf, 'values') : asked
    for (const kase of chosen) {
      test(`${spec.name}, ${variant.name}, emulated: ${kase.name}`, () => checkKernel(device, entry, kase, standIn))
    }
    if (special) testSpecial(device, test, { kernel: spec.name, name: 'special values', ...special, variant: standIn })
    const some = chosen[0]!
    if (env.PARAFORMER_PIPELINES && entry !== attentionEntries[0] && entry !== matmulEntries[0]) continue
    test(`${spec.name}, ${variant.name}, emulated, branches: ${some.name}`, () =>
      checkBranches(device, entry, some, standIn, undefined))
  }
}

test('ends', () => {
  nullDevice.destroy()
  on.device.destroy()
  if (!instance || !adapter) throw new Error('collected')
})
run()
