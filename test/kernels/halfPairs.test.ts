// Elementwise kernels on float16 as a GPU gets them, which loads eight elements at a time. Software devices choose fours.
import { entries } from '../../kernels/elementwise/index.ts'
import type { KernelCase, Variant } from '../../kernels/spec.ts'
import { kernelDevice } from '../harness/device.ts'
import { checkKernel } from '../harness/kernel.ts'
import { checkBranches } from '../harness/kernelBranches.ts'
import { suite } from '../harness/suite.ts'

const device = await kernelDevice()
const on = { ...device, capabilities: { ...device.capabilities, software: false } }
const { test, run } = suite(`float16 in pairs of vec4s on ${on.summary.name}`)

for (const entry of on.capabilities.f16 ? entries : []) {
  const { spec } = entry
  const variant: Variant<any> | undefined = spec.variants.find(({ name }) => name === 'flat')
  const pairs = ({ bench, problem }: KernelCase) =>
    !bench &&
    variant?.supports?.(on.capabilities, problem) !== false &&
    variant?.constants?.(problem, on.capabilities).PARTS === 2
  const cases = entry.cases.filter(pairs).slice(0, 3)
  for (const kase of cases) {
    test(`${spec.name} ${kase.name}`, () => checkKernel(on, entry, kase, variant!))
  }
  const [first] = cases
  if (first) test(`${spec.name} ${first.name}, branches`, () => checkBranches(on, entry, first, variant!, undefined))
}

test('ends', () => on.device.destroy())
run()
