// Calls every public function, constructor and method with wrong values for each argument in turn. The error must be of one of
// our classes, and its message must be one line that names the function.
import { rmSync } from 'node:fs'
import * as api from '../../train/index.ts'
import { suite } from '../harness/suite.ts'
import { misuse } from './misuse.ts'
import { CONSTRUCTORS, device, FUNCTIONS, folder, INSIDE, MADE_INSIDE, METHODS, other } from './publicCalls.ts'

// Functions write files to junk that is a path, so the tests run in a temporary folder.
const tree = process.cwd()
process.chdir(folder)
const { test, run } = suite(`wrong arguments on ${device.summary.name}`)

function isClass(value: unknown): value is new (...args: unknown[]) => object {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))
}

const exported = Object.entries(api).filter(
  (entry): entry is [string, (...args: unknown[]) => unknown] => typeof entry[1] === 'function',
)

test('every function, constructor and method is in a table', () => {
  const missing = exported.flatMap(([name, value]) => {
    if (!isClass(value)) return Object.hasOwn(FUNCTIONS, name) ? [] : [name]
    if (value.prototype instanceof Error || MADE_INSIDE.includes(name) || Object.hasOwn(CONSTRUCTORS, name)) return []
    return [`new ${name}`]
  })
  for (const [name, { make, methods }] of Object.entries(METHODS)) {
    for (const method of methodsOf(make())) {
      const known = [methods, FUNCTIONS].some((table) => Object.hasOwn(table, method)) || INSIDE[name]!.includes(method)
      if (!known) missing.push(`${name}.${method}`)
    }
  }
  if (missing.length > 0) throw new Error(missing.join(', '))
})

function methodsOf(object: object): string[] {
  const names = new Set<string>()
  for (let at = Object.getPrototypeOf(object); at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at)))
      if (typeof value === 'function' && name !== 'constructor') names.add(name)
  }
  return [...names]
}

function report(faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`${faults.length} faults:\n${faults.join('\n')}`)
}

for (const [name, value] of exported) {
  const args = isClass(value) ? CONSTRUCTORS[name] : FUNCTIONS[name]
  if (!args) continue
  test(name, async () => {
    const made: unknown[] = []
    const call = isClass(value)
      ? (...junk: unknown[]) => {
          const object = new value(...junk)
          made.push(object)
          return undefined
        }
      : value
    report(await misuse(name, args, call))
    device.profiler = undefined
    for (const object of made) (object as { dispose?: () => void }).dispose?.()
  })
}

for (const [name, { make, methods }] of Object.entries(METHODS)) {
  for (const method of methodsOf(make())) {
    if (INSIDE[name]!.includes(method)) continue
    test(`${name}.${method}`, async () => {
      const args = methods[method] ?? (() => FUNCTIONS[method]!().slice(1))
      report(
        await misuse(method, args, (...junk) => {
          const self = (methods[method] || name !== 'Tensor' ? make() : FUNCTIONS[method]!()[0]) as Record<
            string,
            (...args: unknown[]) => unknown
          >
          return self[method]!(...junk)
        }),
      )
    })
  }
}

test('the device still works, and nothing was left behind', async () => {
  const [value] = await api.ones([1]).mul(3).data()
  if (value !== 3) throw new Error(`${value}`)
  await device.synchronize()
  await other.synchronize()
  process.chdir(tree)
  rmSync(folder, { recursive: true })
})

run()
