import { checkOutput, reachable, seedOf } from '../autograd/backward.ts'
import { deviceOf, enableGrad, noGrad } from '../autograd/tape.ts'
import { nodeOf, slotsAreOpen, type TapeNode } from '../autograd/tapeNode.ts'
import { checkBoolean, refusal } from '../base/checks.ts'
import { checkOptions, type OptionNames } from '../base/options.ts'
import { isFloat } from '../layout/dtype.ts'
import { checkTensor, mismatch } from '../tensor/arguments.ts'
import { scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { zeros } from './create.ts'
import { add } from './elementwise.ts'

export interface GradOptions {
  /** The gradient of the objective with respect to the output, of its shape and dtype; by default 1 for an output of one element. */
  cotangent?: Tensor
  /** Whether the gradients are on the tape, so that they can be differentiated again; default false. */
  createGraph?: boolean
}

const OPTIONS: OptionNames<GradOptions> = { cotangent: true, createGraph: true }

/**
 * Computes the gradients of an output with respect to some tensors, and leaves `grad` of all leaves alone. Without `createGraph` it frees the
 * values that the tape saved, as `backward` does; with it they stay until the tensors are dropped.
 * @param output a tensor, or a function of the inputs that returns one. A function is called with the inputs as leaves, unless they are on the tape
 * @param inputs a tensor or a list; leaves or results of ops on the tape
 * @returns a gradient for each input, of its shape and dtype; zeros where the output does not depend on it
 * @throws ArgumentError when an argument is of a wrong kind, no input of the output requires gradients, or `createGraph` meets an op without second
 *   derivative; ShapeError when the cotangent does not fit, or is missing where the output has several elements
 */
export function grad(
  output: Tensor | ((...inputs: Tensor[]) => Tensor),
  inputs: readonly Tensor[],
  options?: GradOptions,
): Tensor[]
export function grad(output: Tensor | ((...inputs: Tensor[]) => Tensor), inputs: Tensor, options?: GradOptions): Tensor
export function grad(
  output: Tensor | ((...inputs: Tensor[]) => Tensor),
  inputs: Tensor | readonly Tensor[],
  options: GradOptions = {},
): Tensor | Tensor[] {
  checkOptions('grad', options, OPTIONS)
  const { cotangent, createGraph = false } = options
  checkBoolean('grad', createGraph, 'createGraph')
  const list: readonly Tensor[] = isList(inputs) ? inputs : [inputs]
  if (list.length === 0) throw refusal('grad', inputs, 'a tensor or a list of at least one')
  for (const t of list) {
    checkTensor('grad', t, 'an input')
    if (!isFloat(t.dtype)) throw mismatch('grad', [t], 'inputs of float32 or float16')
  }
  const compute = (): Tensor[] => {
    if (typeof output !== 'function') {
      const outside = list.findIndex((t) => !t.requiresGrad)
      if (outside >= 0) throw refusal('grad', list[outside], 'inputs that require gradients', `input ${outside}`)
      return gradients(output, list, cotangent, createGraph)
    }
    const leaves = list.map((t) => (t.requiresGrad ? t : asLeaf(t)))
    return gradients(
      enableGrad(() => output(...leaves)),
      leaves,
      cotangent,
      createGraph,
    )
  }
  const results = scope(compute)
  return isList(inputs) ? results : results[0]!
}

function isList(inputs: Tensor | readonly Tensor[]): inputs is readonly Tensor[] {
  return Array.isArray(inputs)
}

function asLeaf(t: Tensor): Tensor {
  const leaf = t.detach()
  leaf.requiresGrad = true
  return leaf
}

/** Does what `grad` does with checked arguments. */
export function gradients(
  output: Tensor,
  inputs: readonly Tensor[],
  cotangent: Tensor | undefined,
  createGraph: boolean,
): Tensor[] {
  checkOutput('grad', output, cotangent)
  const device = deviceOf('grad', [output, cotangent, ...inputs])
  const [outerOp, outerLane] = [device.op, device.lane]
  // The cotangent may be on the tape itself, so that gradients flow to it.
  const seed = createGraph && cotangent ? cotangent : seedOf(output, cotangent)
  const found = new Pass(inputs, createGraph)
  try {
    if (createGraph) enableGrad(() => found.run(output, seed))
    else noGrad(() => slotsAreOpen.run(false, () => found.run(output, seed)))
  } finally {
    device.op = outerOp
    device.lane = outerLane
  }
  return inputs.map((t) => found.of(t) ?? zeros(t.shape, { dtype: t.dtype, device }))
}

/** One way from an output to some inputs. */
class Pass {
  /** The nodes that made inputs, and inputs that are leaves: their gradients are asked for. */
  readonly #asked: ReadonlySet<TapeNode | Tensor>
  readonly #createGraph: boolean
  readonly #gradients = new Map<TapeNode | Tensor, Tensor>()

  constructor(inputs: readonly Tensor[], createGraph: boolean) {
    this.#asked = new Set(inputs.map((t) => nodeOf(t) ?? t))
    this.#createGraph = createGraph
  }

  /** The gradient of an input, a tensor of its own. */
  of(input: Tensor): Tensor | undefined {
    const value = this.#gradients.get(nodeOf(input) ?? input)
    if (!value || this.#createGraph) return value
    return value.detach()
  }

  run(output: Tensor, seed: Tensor): void {
    const root = nodeOf(output)
    this.#add(root ?? output, seed)
    if (!root) return
    const nodes = reachable(root)
    const leading = this.#leadingTo(nodes)
    const { device } = output
    for (const node of nodes) {
      const value = this.#gradients.get(node)
      if (!value || !leading.has(node)) continue
      const needs = node.sources.map((source) => source !== undefined && leading.has(source))
      if (needs.includes(true)) {
        device.lane = undefined
        device.op = this.#createGraph ? '' : `${node.name}.backward`
        const results = this.#createGraph ? node.differentiableBackward(value, needs) : scope(() => node.backward(value))
        for (const [i, source] of node.sources.entries()) {
          if (results[i] && source && needs[i]) this.#add(source, results[i]!)
        }
      }
      if (!this.#asked.has(node)) this.#gradients.delete(node)
    }
    if (!this.#createGraph) for (const node of nodes) node.free()
  }

  /** The nodes and leaves that are asked for, and the nodes that depend on them. */
  #leadingTo(nodes: readonly TapeNode[]): ReadonlySet<TapeNode | Tensor> {
    const leading = new Set(this.#asked)
    for (const node of nodes.toReversed()) if (node.sources.some((source) => source && leading.has(source))) leading.add(node)
    return leading
  }

  #add(to: TapeNode | Tensor, value: Tensor): void {
    const present = this.#gradients.get(to)
    this.#gradients.set(to, present ? add(present, value) : value)
  }
}
