import { readdirSync, readFileSync } from 'node:fs'
import { benchCases, kernelTargets, REFERENCE_LIMIT, referenceProblem } from '../../bench/kernelTargets.ts'
import { layerTargets, modelTargets } from '../../bench/modelTargets.ts'
import { opTargets } from '../../bench/opTargets.ts'
import { selectTargets } from '../../bench/select.ts'
import { GROUPS, idOf } from '../../bench/target.ts'
import { attention, attentionGradients, keyValueGradient, queryGradient } from '../../kernels/attention/index.ts'
import { kernelFamilies } from '../../kernels/index.ts'
import { matmul } from '../../kernels/matmul/index.ts'
import { type Capabilities, type KernelEntry, runsOn } from '../../kernels/spec.ts'
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
    .filter((dirent) => dirent.isDirectory())
    .map(({ name }) => name)
  if (folders.length < 10) throw new Error(`only ${folders.length} folders found; run the tests from the project's root`)
  const registered = Object.keys(kernelFamilies)
  const wrong = [
    ...folders.filter((name) => !registered.includes(name)).map((name) => `kernels/${name} is not in kernels/index.ts`),
    ...registered.filter((name) => !folders.includes(name)).map((name) => `there is no kernels/${name}`),
  ]
  if (wrong.length > 0) throw new Error(wrong.join('; '))
})

const entries: readonly KernelEntry[] = Object.values(kernelFamilies).flat()
const targets = [...kernelTargets(capabilities), ...opTargets(false), ...layerTargets(64), ...modelTargets(64)]

test('every kernel has a target', () => {
  const timed = new Set(targets.filter(({ group }) => group === 'kernels').map(({ name }) => name))
  const missing = Object.values(kernelFamilies)
    .flat()
    .filter(({ spec }) => !timed.has(spec.name))
  if (missing.length > 0) throw new Error(missing.map(({ spec }) => spec.name).join(', '))
})

test('every kernel chooses a variant that runs, since selection takes any other one for a name that does not', () => {
  const without = { subgroupMinSize: 0, subgroupMaxSize: 0, subgroupMatrix: false }
  const devices = [capabilities, { ...capabilities, ...without }].flatMap((machine) => [
    machine,
    { ...machine, software: true },
  ])
  const wrong = entries.flatMap(({ spec, cases }) =>
    cases.flatMap(({ name, problem }) =>
      devices.flatMap((device) => {
        // Devices that run no variant of a kernel use others.
        if (!spec.variants.some((variant) => runsOn(spec, variant, device, problem))) return []
        const chosen = spec.choose?.(device, problem)
        const found = spec.variants.find((variant) => variant.name === chosen)
        return chosen === undefined || (found && runsOn(spec, found, device, problem))
          ? []
          : [`${spec.name} ${name}: ${chosen}`]
      }),
    ),
  )
  if (wrong.length > 0) throw new Error(wrong.join('; '))
})

test('no two targets share an id, under which the history keeps them', () => {
  const ids = targets.map(idOf)
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i)
  if (twice.length > 0) throw new Error(twice.join(', '))
})

test('references of timed cases end in time: large ones compute the first part of their problem', () => {
  const parts = entries.flatMap((entry) =>
    benchCases(entry).map((kase) => ({
      name: `${entry.spec.name} ${kase.name}`,
      whole: entry.spec.flops(kase.problem),
      part: entry.spec.flops(referenceProblem(entry.spec, kase)),
    })),
  )
  const slow = parts.filter(({ part }) => part > 10 * REFERENCE_LIMIT)
  if (slow.length > 0) throw new Error(slow.map(({ name, part }) => `${name}: ${part}`).join(', '))
  // The kernels of attention, of its gradients and of matmul.
  const shortened = new Set(parts.filter(({ whole, part }) => part < whole).map(({ name }) => name.split(' ')[0]!))
  const expected = [matmul, attention, queryGradient, keyValueGradient, attentionGradients].map(({ name }) => name)
  if ([...shortened].sort().join() !== expected.sort().join()) throw new Error([...shortened].join())
})

test('every kernel is found by the name of its spec, and by what people call it', () => {
  for (const { spec } of entries) {
    const found = selectTargets(capabilities, { names: [spec.name] })
    if (!found.some(({ group, name }) => group === 'kernels' && name === spec.name)) throw new Error(spec.name)
    if (spec.name.length < 5) continue
    const typed = [`${spec.name}x`, spec.name.slice(0, -1), spec.name.toUpperCase(), `kernels/${spec.name}s`]
    for (const name of typed) mustSuggest(name, spec.name)
  }
  mustSuggest('queryGradient', 'attentionQueryGradient')
  mustSuggest('keyValueGradient', 'attentionKeyValueGradient')
  mustSuggest('sofmax', 'softmax')
  mustSuggest('encoder', 'encoderLayer')
  mustSuggest('kernel', 'kernels')
})

/** Fails unless a misspelt name is refused with `wanted` as a suggestion; a name that another target has must be found. */
function mustSuggest(name: string, wanted: string): void {
  let message = ''
  try {
    if (selectTargets(capabilities, { names: [name] }).length > 0) return
  } catch (error) {
    message = (error as Error).message
  }
  const [, suggested = ''] = /did you mean (.*)\?; there are/.exec(message) ?? []
  if (!suggested.split(' or ').includes(wanted)) throw new Error(`${name}: said "${message}"`)
}

/** Subcommands of `paraformer bench`, and theirs. */
const COMMANDS = ['streams', 'schemes', 'images', 'isa', 'byHand', 'fleet', 'branches', 'link', 'messages', 'simulate']

test('names that the documents ask for can be timed', () => {
  const known = new Set<string>([...GROUPS, ...targets.map(({ name }) => name), ...COMMANDS])
  const pages = readdirSync('docs')
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`)
  const asked = ['README.md', ...pages, 'bench/README.md', 'bench/NOTES.md', 'bench/command.ts'].flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/paraformer bench ((?:[a-zA-Z\d]+ )*[a-zA-Z\d]+)/g)].flatMap(([, names]) =>
      names!.split(' ').map((name) => `${file}: ${name}`),
    ),
  )
  const unknown = asked.filter((line) => !known.has(line.split(': ')[1]!))
  if (asked.length < 10 || unknown.length > 0) throw new Error(`of ${asked.length}: ${unknown.join(', ')}`)
})

test('every target counts operations or bytes', () => {
  const bad = targets.filter(({ flops, bytes }) => !(flops >= 0 && bytes >= 0 && flops + bytes > 0))
  if (bad.length > 0) throw new Error(bad.map(idOf).join(', '))
})

run()
