import { readdirSync } from 'node:fs'
import { kernelTargets } from '../../bench/kernelTargets.ts'
import { layerTargets, modelTargets } from '../../bench/modelTargets.ts'
import { opTargets } from '../../bench/opTargets.ts'
import { idOf } from '../../bench/target.ts'
import { kernelFamilies } from '../../kernels/index.ts'
import type { Capabilities } from '../../kernels/spec.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('what can be timed')

const capabilities: Capabilities = {
  software: false,
  gathersPrivate: false,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  subgroupMatrix: true,
  f16: true,
  maxInvocations: 1024,
  maxWorkgroupMemory: 32768,
  maxWorkgroups: 65535,
}

test('every folder of kernels is registered under its name', () => {
  const folders = readdirSync('kernels', { withFileTypes: true })
    .filter((one) => one.isDirectory())
    .map(({ name }) => name)
  if (folders.length < 10) throw new Error(`only ${folders.length} folders found; run the tests from the project's root`)
  const registered = Object.keys(kernelFamilies)
  const wrong = [
    ...folders.filter((name) => !registered.includes(name)).map((name) => `kernels/${name} is not in kernels/index.ts`),
    ...registered.filter((name) => !folders.includes(name)).map((name) => `there is no kernels/${name}`),
  ]
  if (wrong.length > 0) throw new Error(wrong.join('; '))
})

const targets = [...kernelTargets(capabilities), ...opTargets(false), ...layerTargets(64), ...modelTargets(64)]

test('every kernel has a target', () => {
  const timed = new Set(targets.filter(({ group }) => group === 'kernels').map(({ name }) => name))
  const missing = Object.values(kernelFamilies)
    .flat()
    .filter(({ spec }) => !timed.has(spec.name))
  if (missing.length > 0) throw new Error(missing.map(({ spec }) => spec.name).join(', '))
})

test('no two targets share an id, under which the history keeps them', () => {
  const ids = targets.map(idOf)
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i)
  if (twice.length > 0) throw new Error(twice.join(', '))
})

test('every target counts operations or bytes', () => {
  const bad = targets.filter(({ flops, bytes }) => !(flops >= 0 && bytes >= 0 && flops + bytes > 0))
  if (bad.length > 0) throw new Error(bad.map(idOf).join(', '))
})

run()
