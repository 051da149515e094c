import { ArgumentError, ShapeError } from '../base/errors.ts'
import { getOrMake } from '../base/maps.ts'
import type { Device } from '../device/device.ts'
import { recordForked } from '../device/recordForked.ts'
import { format } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { copyInto } from '../tensor/copies.ts'
import { tensor } from '../tensor/fromValues.ts'
import { addInPlace, canAddFour, runAddFour, runBinary } from '../tensor/pointwise.ts'
import { innermostScope, Scope, scope, withoutScope } from '../tensor/scope.ts'
import { copyOf, empty, type Tensor } from '../tensor/tensor.ts'
import { deviceOf, noGrad, reportResult } from './tape.ts'
import { claimed, nodeOf, TapeNode } from './tapeNode.ts'
import { treeReduce } from './treeReduce.ts'

/**
 * Adds the gradient of `output` to every leaf that it depends on, then frees the values that the tape saved.
 * @param cotangent the gradient of the objective with respect to `output`, of its shape and dtype; by default 1 for an output of one element
 * @throws ArgumentError when an argument is no live tensor, or no leaf requires gradients; ShapeError when the cotangent does not fit, or
 *   is missing where `output` has several elements; StaleValueError when a tensor that backward needs was changed in place after its op
 *   ran; Error when an op has no backward, or backward ran before
 */
export function backward(output: Tensor, cotangent?: Tensor): void {
  checkOutput('backward', output, cotangent)
  const device = deviceOf('backward', [output, cotangent])
  const outerOp = device.op
  try {
    noGrad(() =>
      scope(() => {
        const seed = seedOf(output, cotangent)
        if (!output.node) return accumulate(output, seed)
        propagate(nodeOf(output)!, seed)
      }),
    )
  } finally {
    device.op = outerOp
    claimed.clear()
  }
}

/**
 * Checks the arguments of `backward` and `grad`.
 * @throws ArgumentError when one is no live tensor, or the output depends on no leaf; ShapeError when the cotangent does not fit, or is missing
 */
export function checkOutput(op: string, output: unknown, cotangent: unknown): asserts output is Tensor {
  checkTensor(op, output)
  if (!output.requiresGrad) throw new ArgumentError(`${op}: no input of this tensor requires gradients`)
  if (cotangent === undefined) {
    if (output.size === 1) return
    throw new ShapeError(`${op}: shape ${format(output.shape)} has more than one element; give a cotangent of that shape`)
  }
  checkTensor(op, cotangent, 'the cotangent')
  if (format(cotangent.shape) !== format(output.shape)) {
    throw new ShapeError(`${op}: cotangent ${format(cotangent.shape)} for a tensor of shape ${format(output.shape)}`)
  }
  if (cotangent.dtype !== output.dtype)
    throw new ShapeError(`${op}: got a cotangent of ${cotangent.dtype}, takes ${output.dtype}; use cast()`)
}

/** The gradient from which a pass begins: the cotangent off the tape, or 1. */
export function seedOf({ shape, dtype, device }: Tensor, cotangent: Tensor | undefined): Tensor {
  if (cotangent) return cotangent.detach()
  const one = tensor([1], { shape, dtype, device })
  one.allOnes = true
  return one
}

/** Frees the gradients of leaves. The next backward pass sets them anew. */
export function zeroGrad(leaves: Iterable<Tensor>): void {
  for (const leaf of leaves) {
    leaf.grad?.dispose()
    leaf.grad = undefined
  }
}

function propagate(root: TapeNode, cotangent: Tensor): void {
  const nodes = reachable(root)
  const { device } = cotangent
  const outer = device.lane
  const coalesces = nodes.some(({ lane }) => lane?.fork.mode === 'coalesced')
  try {
    recordForked(device, coalesces ? 'coalesced' : 'serial', () => visit(device, nodes, root, cotangent))
  } finally {
    device.lane = outer
  }
}

/** Runs the backward of each node in order, in the lane of its forward pass, and hands the gradients on to its sources. */
function visit(device: Device, nodes: readonly TapeNode[], root: TapeNode, cotangent: Tensor): void {
  const gradients = new Map<TapeNode, Gradient>([[root, { value: cotangent, owned: false, others: [] }]])
  for (const node of nodes) {
    const gradient = gradients.get(node)
    if (!gradient) continue
    gradients.delete(node)
    if (device.lane !== node.lane) device.lane = node.lane
    device.op = getOrMake(backwardNames, node.name, nameOfBackward)
    const grad = total(gradient)
    const results = gradientsOf(node, grad)
    grad.dispose()
    for (let i = 0; i < results.length; i++) {
      const [source, value] = [node.sources[i], results[i]]
      if (!source || !value) continue
      reportResult(device.op, value)
      if (!(source instanceof TapeNode)) {
        accumulate(source, value)
        continue
      }
      const present = gradients.get(source)
      const leavesLane = source.lane !== node.lane
      if (present && leavesLane && node.lane?.fork.mode === 'coalesced') {
        present.others.push(value)
        continue
      }
      // A sum over several branches belongs to the lane around the fork.
      if (leavesLane) device.lane = source.lane
      gradients.set(source, merge(present, value))
      if (leavesLane) device.lane = node.lane
    }
    node.free()
  }
}

/** By the name of an op, that of its backward pass. */
const backwardNames = new Map<string, string>()
const nameOfBackward = (op: string) => `${op}.backward`

/** Runs the backward of a node in a scope, which frees all but the gradients of its inputs. */
function gradientsOf(node: TapeNode, grad: Tensor): readonly (Tensor | undefined)[] {
  const outer = innermostScope.current
  const inner = new Scope()
  let results: readonly (Tensor | undefined)[] = []
  innermostScope.current = inner
  try {
    results = node.backward(grad)
    return results
  } finally {
    innermostScope.current = outer
    inner.end((object) => results.includes(object as Tensor), outer)
  }
}

/** The gradient of a node's result, so far. */
interface Gradient {
  value: Tensor
  /** Whether `value` has memory of its own, which may be added to in place. */
  owned: boolean
  /** Gradients from coalesced branches, which are added to `value` at the end. */
  readonly others: Tensor[]
}

/** Adds up the parts of a gradient by a tree reduction, whose additions depend on each other only log2(parts) deep. */
function total({ value, others }: Gradient): Tensor {
  if (others.length === 0) return value
  return treeReduce([value, ...others], (few) => {
    const [a, b, c, d] = few as [Tensor, Tensor, Tensor?, Tensor?]
    if (!canAddFour(few)) {
      const sum = freeingSum(a, b)
      return c ? freeingSum(sum, d ? freeingSum(c, d) : c) : sum
    }
    const sum = empty(a.shape, a.dtype, a.device)
    runAddFour(few, sum)
    for (const t of few) t.dispose()
    return sum
  })
}

/** Returns a + b in memory of its own and frees both. */
function freeingSum(a: Tensor, b: Tensor): Tensor {
  const sum = sumOf(a, b)
  a.dispose()
  b.dispose()
  return sum
}

/** Adds `value` to the present gradient and frees it. Where there is none, `value` becomes the gradient. */
function merge(present: Gradient | undefined, value: Tensor): Gradient {
  if (!present) return { value, owned: false, others: [] }
  if (present.owned) {
    addInPlace(present.value, value)
    value.dispose()
    return present
  }
  const sum = sumOf(present.value, value)
  present.value.dispose()
  value.dispose()
  return { value: sum, owned: true, others: present.others }
}

/** Returns a + b in memory of its own. */
function sumOf(a: Tensor, b: Tensor): Tensor {
  const sum = empty(a.shape, a.dtype, a.device)
  runBinary('add', a, b, sum)
  return sum
}

/** Adds `grad` to the gradient of a leaf and frees it. */
function accumulate(leaf: Tensor, grad: Tensor): void {
  const slot = leaf.gradSlot
  const isAlias = slot !== undefined && grad.storage === slot.storage && grad.offset !== slot.offset
  const value = isAlias ? ownCopy(grad) : grad
  if (leaf.grad) {
    if (slot && leaf.grad.storage === slot.storage) addInPlace(leaf.grad, value)
    else {
      const sum = sumOf(leaf.grad, value).joinScopeOf(leaf)
      leaf.grad.dispose()
      leaf.grad = sum
    }
    value.dispose()
  } else if (slot) {
    if (value.storage !== slot.storage || value.offset !== slot.offset) copyInto(value, slot)
    value.dispose()
    leaf.grad = withoutScope(() => slot.detach())
  } else {
    // `value` may share its memory with another gradient or be a strided view; a leaf keeps memory of its own.
    leaf.grad = ownCopy(value).joinScopeOf(leaf)
  }
}

/** Copies a tensor and frees the original. */
function ownCopy(t: Tensor): Tensor {
  const copy = copyOf(t)
  t.dispose()
  return copy
}

/** The nodes that `root` depends on and that gradients reach, each after every node that depends on it. */
export function reachable(root: TapeNode): TapeNode[] {
  const seen = new Set<TapeNode>([root])
  const stack = [root]
  for (let node = stack.pop(); node; node = stack.pop()) {
    for (const source of node.sources) {
      if (source instanceof TapeNode && !seen.has(source)) {
        seen.add(source)
        stack.push(source)
      }
    }
  }
  return [...seen].sort((a, b) => b.order - a.order)
}
