import { bytesOf, fillCase } from '../../kernels/fill.ts'
import { type Arrays, bindingDtype, type KernelCase, type KernelEntry, SCALAR_BYTES, type Variant } from '../../kernels/spec.ts'
import type { KernelDevice } from './device.ts'
import { arraysOf, compare, GUARD, launch, type Memory } from './kernel.ts'

const BRANCHES = 3
/** The difference from branch to branch of parameters that have a `branchStep`. */
const STEP = 5

/** Whether one dispatch of a kernel can do the work of several branches. */
export function takesBranches({ spec }: KernelEntry): boolean {
  return spec.params.some(({ name }) => name === 'strides')
}

/**
 * Runs a case as one dispatch of three branches, whose values lie in the same buffers with guards between them. Compares every
 * branch with the float64 reference.
 * @param shared the read-only binding that all branches share, if any
 */
export async function checkBranches(
  on: KernelDevice,
  entry: KernelEntry,
  kase: KernelCase,
  variant: Variant<any>,
  shared: string | undefined,
): Promise<void> {
  const { spec } = entry
  const whole: Memory = new Map()
  const strides = spec.bindings.map(({ name }) => (name === shared ? 0 : 64 * Math.ceil(kase.sizes[name]! / 64) + GUARD))
  const expected: Arrays[] = []
  for (let branch = 0; branch < BRANCHES; branch++) {
    const memory = fillCase(spec, kase, GUARD, 1 + branch)
    spec.bindings.forEach((binding, i) => {
      const bytes = bytesOf(bindingDtype(binding, kase.problem), strides[i]!)
      const all = whole.get(binding.name) ?? poisoned(memory.get(binding.name)!, Math.max(BRANCHES * bytes, 1))
      whole.set(binding.name, all)
      if (branch > 0 && binding.name === shared) memory.set(binding.name, all)
      else new Uint8Array(all).set(new Uint8Array(memory.get(binding.name)!), branch * bytes)
    })
    expected.push(entry.reference(grown(entry, kase.problem, branch), arraysOf(spec, kase, memory)))
  }
  const steps = Object.fromEntries(spec.params.flatMap(({ branchStep }) => (branchStep ? [[branchStep, STEP]] : [])))
  const results = await launch(on, spec, variant, { ...kase.problem, ...steps, strides }, whole, BRANCHES)
  spec.bindings.forEach((binding, i) => {
    const bytes = results.get(binding.name)
    if (!bytes) return
    const part = strides[i]! * SCALAR_BYTES[bindingDtype(binding, kase.problem)]
    for (let branch = 0; branch < BRANCHES; branch++) {
      const label = `${spec.name}/${variant.name} ${kase.name}, branch ${branch}${shared ? ` with one ${shared}` : ''}`
      compare(binding, kase, bytes.slice(branch * part, (branch + 1) * part), expected[branch]!, label)
    }
  })
}

/** Memory of at least `length` bytes, filled with the poison that `filled` ends with. */
function poisoned(filled: ArrayBuffer, length: number): ArrayBuffer {
  const [word] = new Uint32Array(filled).subarray(-1)
  const all = new ArrayBuffer(Math.max(length, filled.byteLength))
  new Uint32Array(all).fill(word!)
  return all
}

/** The problem of one branch, whose parameters with a `branchStep` have grown. */
function grown({ spec }: KernelEntry, problem: Record<string, any>, branch: number): Record<string, any> {
  const made = { ...problem }
  for (const { name, branchStep } of spec.params) if (branchStep) made[name] = (problem[name] + branch * STEP) % 2 ** 32
  return made
}

/** The cases of a variant to run in branches too: for each pipeline, the case nearest to 4,000 elements. */
export function branchCases(on: KernelDevice, cases: readonly KernelCase[], variant: Variant<any>): KernelCase[] {
  const chosen = new Map<string, { kase: KernelCase; distance: number }>()
  for (const kase of cases) {
    const key = JSON.stringify(variant.constants?.(kase.problem, on.capabilities) ?? {})
    const elements = Object.values(kase.sizes).reduce((sum, size) => sum + size, 0)
    const distance = Math.abs(Math.log(elements / 4000))
    if (distance < (chosen.get(key)?.distance ?? Infinity)) chosen.set(key, { kase, distance })
  }
  return [...chosen.values()].map(({ kase }) => kase)
}
