import { ArgumentError, ShapeError } from '../base/errors.ts'
import type { Device } from '../device/device.ts'
import { recordForked } from '../device/recordForked.ts'
import { format } from '../layout/shape.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { addInPlace, addOut, copyInto } from '../tensor/copies.ts'
import { tensor } from '../tensor/fromValues.ts'
import { scope, withoutScope } from '../tensor/scope.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { claimed, deviceOf, nodeOf, noGrad, TapeNode, tell } from './tape.ts'
import { treeReduce } from './treeReduce.ts'

/**
 * Adds to the gradient of every leaf that `output` depends on, and frees what the tape kept.
 * @param cotangent gradient of the objective with respect to `output`, of its shape; may be left out for one element (1)
 * @throws ArgumentError for what is no tensor, or when nothing requires gradients; ShapeError for a wrong cotangent; StaleValueError
 *   when a tensor that an op needs was changed in place (`write`, an optimizer's step) after the op used it; Error when an op has
 *   no backward, or it ran before
 */
export function backward(output: Tensor, cotangent?: Tensor): void {
  checkTensor('backward', output)
  if (!output.requiresGrad) throw new ArgumentError('backward: no input of this tensor requires gradients')
  if (cotangent !== undefined) checkTensor('backward', cotangent, 'the cotangent')
  if (!cotangent && output.size !== 1) {
    throw new ShapeError(`backward: shape ${format(output.shape)} has more than one element; give a cotangent of that shape`)
  }
  if (cotangent && format(cotangent.shape) !== format(output.shape)) {
    throw new ShapeError(`backward: cotangent ${format(cotangent.shape)} for a tensor of shape ${format(output.shape)}`)
  }
  if (cotangent && cotangent.dtype !== output.dtype) {
    throw new ShapeError(`backward: got a cotangent of ${cotangent.dtype}, takes ${output.dtype}; use cast()`)
  }
  const device = deviceOf('backward', [output, cotangent])
  const outerOp = device.op
  try {
    noGrad(() =>
      scope(() => {
        const first = cotangent?.detach() ?? tensor([1], { shape: output.shape, dtype: output.dtype, device })
        if (!output.node) return accumulate(output, first)
        propagate(nodeOf(output)!, first)
      }),
    )
  } finally {
    device.op = outerOp
    claimed.clear()
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

/** Sends gradients through the nodes in order, what a branch computes in its lane. */
function visit(device: Device, nodes: readonly TapeNode[], root: TapeNode, cotangent: Tensor): void {
  const gradients = new Map<TapeNode, Gradient>([[root, { value: cotangent, owned: false, others: [] }]])
  for (const node of nodes) {
    const gradient = gradients.get(node)
    if (!gradient) continue
    gradients.delete(node)
    device.lane = node.lane
    device.op = `${node.name}.backward`
    const value = total(gradient)
    const results = scope(() => node.backward(value))
    value.dispose()
    node.sources.forEach((source, i) => {
      const value = results[i]
      if (!source || !value) return
      tell(device.op, value)
      if (!(source instanceof TapeNode)) {
        accumulate(source, value)
        return
      }
      const present = gradients.get(source)
      const joins = source.lane !== node.lane
      if (present && joins && node.lane?.fork.mode === 'coalesced') {
        present.others.push(value)
        return
      }
      // A sum of what several branches give belongs to none of them.
      if (joins) device.lane = source.lane
      gradients.set(source, merge(present, value))
      device.lane = node.lane
    })
    node.free()
  }
}

/** A gradient on its way; `owned` memory may be added to in place. */
interface Gradient {
  value: Tensor
  owned: boolean
  /** What coalesced branches give: it comes at once and is added up at once. */
  others: Tensor[]
}

/** The whole gradient; of several parts by pairs, which takes fewer steps after each other. */
function total({ value, others }: Gradient): Tensor {
  return treeReduce([value, ...others], (a, b) => {
    const sum = sumOf(a, b)
    a.dispose()
    b.dispose()
    return sum
  })
}

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

/** a + b in memory of its own. */
function sumOf(a: Tensor, b: Tensor): Tensor {
  const sum = empty(a.shape, a.dtype, a.device)
  addOut(sum, a, b)
  return sum
}

function accumulate(leaf: Tensor, given: Tensor): void {
  const slot = leaf.gradSlot
  const value = slot && given.storage === slot.storage && given.offset !== slot.offset ? ownCopy(given) : given
  if (leaf.grad) {
    if (slot && leaf.grad.storage === slot.storage) addInPlace(leaf.grad, value)
    else {
      const sum = sumOf(leaf.grad, value).moveTo(leaf)
      leaf.grad.dispose()
      leaf.grad = sum
    }
    value.dispose()
  } else if (slot) {
    if (value.storage !== slot.storage || value.offset !== slot.offset) copyInto(value, slot)
    value.dispose()
    leaf.grad = withoutScope(() => slot.detach())
  } else {
    // A gradient may share memory with another one, or be a strided view of it: a leaf keeps its own.
    leaf.grad = ownCopy(value).moveTo(leaf)
  }
}

/** The values in memory of their own, for which `t` is given up. */
function ownCopy(t: Tensor): Tensor {
  const own = empty(t.shape, t.dtype, t.device)
  copyInto(t, own)
  t.dispose()
  return own
}

/** Nodes below `root` that gradients reach, each after all that depend on it. */
function reachable(root: TapeNode): TapeNode[] {
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
