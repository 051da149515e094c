import type { KernelSpec } from '../kernels/spec.ts'
import { checkFunction, checkText, refusal } from './base/checks.ts'
import { ArgumentError, reason } from './base/errors.ts'
import { checkOptions } from './base/options.ts'
import type { UpdateParams } from './graph/graph.ts'
import { checkTensors } from './tensor/arguments.ts'
import { run as launch } from './tensor/run.ts'
import type { Tensor } from './tensor/tensor.ts'

/** How `run` launches a kernel. */
export interface RunOptions {
  /** The variant to take where none is pinned; default what the spec chooses, or what was measured. */
  variant?: string | undefined
  /** Computes the parameters that change, before every replay of a captured function. */
  updateParams?: UpdateParams | undefined
}

/**
 * Records one launch of a kernel of your own, for the forward and backward functions of `defineOp`. The kernel writes tensors that
 * `empty()` makes.
 * @param problem the kernel's parameters by name, and the other facts that its variants ask for
 * @param tensors in the order of the kernel's bindings, each bound from its first element; the kernel sees rows side by side, so make
 *   views `contiguous()` first
 * @throws ArgumentError for a spec that lacks a part, a problem that lacks a parameter, and tensors that do not fit the bindings
 */
export function run<P extends object>(
  spec: KernelSpec<P>,
  problem: P,
  tensors: readonly Tensor[],
  options: RunOptions = {},
): void {
  checkSpec(spec)
  if (typeof problem !== 'object' || problem === null || Symbol.iterator in problem)
    throw refusal('run', problem, "an object of the kernel's parameters", 'problem')
  checkTensors('run', tensors)
  const { bindings, name } = spec
  if (tensors.length !== bindings.length) {
    throw new ArgumentError(`run: got ${tensors.length} tensors, ${name} takes ${bindings.map(({ name }) => name).join(', ')}`)
  }
  checkOptions('run', options, { variant: true, updateParams: true })
  const { variant, updateParams } = options
  if (variant !== undefined && !spec.variants.some(({ name }) => name === variant)) {
    throw refusal('run', variant, `one of ${spec.variants.map(({ name }) => name).join(', ')}`, 'variant')
  }
  if (updateParams !== undefined) checkFunction('run', updateParams, 'updateParams')
  try {
    launch(spec, problem, tensors, { ...(variant !== undefined && { variant }), ...(updateParams && { updateParams }) })
  } catch (error) {
    // Errors that the engine's own kernels never meet have no class.
    throw error instanceof Error && error.constructor === Error ? new ArgumentError(`run: ${reason(error)}`) : error
  }
}

/** @throws ArgumentError for a spec that lacks a part */
function checkSpec(spec: KernelSpec): void {
  const listed = Array.isArray(spec?.bindings) && Array.isArray(spec.params) && Array.isArray(spec.variants)
  if (!listed || spec.bindings.length === 0 || spec.variants.length === 0) {
    throw refusal('run', spec, 'a KernelSpec with lists of bindings, params and variants', 'spec')
  }
  checkText('run', spec.name, 'the name of the spec')
  for (const { name, source, grid } of spec.variants) {
    checkText('run', name, 'the name of a variant')
    checkText('run', source, `the source of ${name}`)
    checkFunction('run', grid, `the grid of ${name}`)
  }
}
