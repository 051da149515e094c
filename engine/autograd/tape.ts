import { checkFunction, refusal, synchronous } from '../base/checks.ts'
import { ArgumentError, ShapeError } from '../base/errors.ts'
import type { Device } from '../device/device.ts'
import type { Lane } from '../fork.ts'
import type { Dtype } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import { staleValue } from '../memory/version.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { addInPlace, addOut, copyInto } from '../tensor/copies.ts'
import { scope, withoutScope } from '../tensor/scope.ts'
import { empty, type Tensor, tensor, view } from '../tensor/tensor.ts'
import { currentRecomputation, type Recomputation } from './recomputation.ts'
import { treeReduce } from './treeReduce.ts'

type Inputs = readonly (Tensor | undefined)[]

/** What an op's forward and backward share. */
export interface OpContext {
  /** Which inputs want a gradient. */
  readonly needs: readonly boolean[]
  /** What forward kept, in that order. */
  readonly saved: readonly Tensor[]
  /**
   * Keeps tensors alive until backward has run, which refuses to start when one of them was changed since: give undefined in place of what
   * the gradients that are needed do not depend on. Call it once, in forward.
   */
  saveForBackward(...tensors: (Tensor | undefined)[]): void
  /**
   * In backward: a tensor of undefined content, of input i's shape and dtype, to write its whole gradient into and return. It may be
   * the slot of a parameter's gradient, which saves a copy.
   */
  gradOut(i: number): Tensor
}

/** An op and its derivative. Both run off the tape and in a scope: temporaries are freed. */
export interface OpDefinition<I extends Inputs, A> {
  name: string
  forward(ctx: OpContext, inputs: I, args: A): Tensor
  /** Gradients of the inputs, `undefined` for those that want none. `grad` may be a strided view. */
  backward?(ctx: OpContext, grad: Tensor, args: A): readonly (Tensor | undefined)[]
}

let taping = true
let sequence = 0
/** Called with every op's result while set; see `watchOps`. */
let watcher: ((name: string, result: Tensor) => void) | undefined

/**
 * Runs `fn` without recording a tape: nothing in it can be differentiated, and nothing is kept for backward.
 * @throws ArgumentError when `fn` is no function, or asynchronous: what follows its first await would be taped
 */
export function noGrad<T>(fn: () => T): T {
  checkFunction('noGrad', fn)
  return synchronous('noGrad', withTape(false, fn))
}

/** Runs `fn` on the tape, also inside `noGrad`. */
export function enableGrad<T>(fn: () => T): T {
  return withTape(true, fn)
}

function withTape<T>(on: boolean, fn: () => T): T {
  const outer = taping
  taping = on
  try {
    return fn()
  } finally {
    taping = outer
  }
}

/**
 * Calls `watch` with the name and result of every op, forward and backward, that runs inside `fn`.
 * @throws ArgumentError unless both are functions
 */
export function watchOps<T>(watch: (name: string, result: Tensor) => void, fn: () => T): T {
  checkFunction('watchOps', watch, 'watch')
  checkFunction('watchOps', fn, 'fn')
  const outer = watcher
  watcher = watch
  try {
    return fn()
  } finally {
    watcher = outer
  }
}

/** A recorded op: how to send a gradient on to its inputs. */
export class TapeNode implements OpContext {
  readonly name: string
  readonly order = sequence++
  readonly needs: readonly boolean[]
  /** For each input that wants a gradient the node that made it, or the leaf itself. */
  readonly sources: readonly (TapeNode | Tensor | undefined)[]
  /** Where its backward pass is recorded. */
  readonly lane: Lane | undefined
  readonly #device: Device
  readonly #inputs: readonly { shape: readonly number[]; dtype: Dtype }[]
  readonly #backward: ((ctx: OpContext, grad: Tensor) => readonly (Tensor | undefined)[]) | undefined
  #references = 1
  #freed = false
  #saved: readonly Tensor[] = []
  /** Changes of each saved tensor when it was saved. */
  #counts: readonly number[] = []
  /** Computes `saved` where it was not kept. */
  #recomputation: Recomputation | undefined
  /** The gradient that backward got. */
  #given: Tensor | undefined

  constructor(definition: OpDefinition<any, any>, inputs: Inputs, args: unknown) {
    this.name = definition.name
    this.needs = inputs.map((input) => taping && (input?.requiresGrad ?? false))
    this.#device = inputs.find((input) => input !== undefined)!.device
    this.lane = this.#device.lane?.backward
    this.#inputs = inputs.map((input) => ({ shape: input?.shape ?? [], dtype: input?.dtype ?? 'float32' }))
    this.sources = inputs.map((input, i) => (this.needs[i] ? (input!.node?.retain() ?? input) : undefined))
    const { backward } = definition
    this.#backward = backward && ((ctx, grad) => backward(ctx, grad, args))
  }

  saveForBackward(...tensors: (Tensor | undefined)[]): void {
    if (!this.needs.includes(true)) return
    // Backward does not look at what is left out.
    const keep = () => withoutScope(() => tensors.map((t) => t?.detach() as Tensor))
    const recomputation = currentRecomputation()
    if (!recomputation) this.#keep(keep())
    else if (recomputation.save(this, keep)) this.#recomputation = recomputation
  }

  get saved(): readonly Tensor[] {
    this.#recomputation?.compute()
    return this.#saved
  }

  /** Takes what it would have saved. */
  restore(saved: readonly Tensor[]): void {
    if (this.#freed) for (const t of saved as readonly (Tensor | undefined)[]) t?.dispose()
    else this.#keep(saved)
  }

  #keep(saved: readonly Tensor[]): void {
    this.#saved = saved
    this.#counts = saved.map((one) => one?.version.count ?? 0)
  }

  /** @throws StaleValueError when a saved tensor was changed in place since */
  #checkSaved(): void {
    this.saved.forEach((one: Tensor | undefined, i) => {
      if (one && one.version.count !== this.#counts[i]) throw staleValue(`${this.name}.backward`, one)
    })
  }

  gradOut(i: number): Tensor {
    const source = this.sources[i]
    // Of a leaf that is several inputs the first may: gradients are added up in that order.
    const leaf = source instanceof TapeNode || this.sources.indexOf(source) < i ? undefined : source
    if (leaf?.gradSlot && !leaf.grad && !claimed.has(leaf) && !this.#reads(leaf.gradSlot)) {
      claimed.add(leaf)
      return view(leaf.gradSlot, leaf.shape, leaf.gradSlot.strides, leaf.gradSlot.offset)
    }
    const { shape, dtype } = this.#inputs[i]!
    return empty(shape, dtype, this.#device)
  }

  /** Whether what backward starts from lies in the memory of `t`, as gradients of other parameters of an arena do. */
  #reads({ storage }: Tensor): boolean {
    return this.#given?.storage === storage || this.saved.some((one: Tensor | undefined) => one?.storage === storage)
  }

  /**
   * The gradients of the inputs, each a tensor of its own: an op may return what it was given or saved, or one tensor twice.
   * @throws Error when the op has no backward, or its saved tensors are gone; StaleValueError when one of them was changed in place since
   *   the forward pass; ShapeError when a gradient is not of its input's shape
   *   and dtype
   */
  backward(grad: Tensor): readonly (Tensor | undefined)[] {
    if (!this.#backward) throw new Error(`${this.name} has no backward; detach its input or compute it inside noGrad`)
    if (this.#freed) {
      throw new Error(`backward: ${this.name} was already differentiated and its values are freed; run the forward pass again`)
    }
    this.#checkSaved()
    this.#given = grad
    return this.#backward(this, grad).map((value, i) => {
      if (!value || !this.sources[i]) return undefined
      const { shape, dtype } = this.#inputs[i]!
      if (value.dtype !== dtype || value.ndim !== shape.length || shape.some((size, d) => size !== value.shape[d])) {
        const [got, takes] = [value, { shape, dtype }].map((t) => `${t.dtype} ${format(t.shape)}`)
        throw new ShapeError(`${this.name}.backward: gave a gradient ${got} for input ${i}, which is ${takes}`)
      }
      return value.detach()
    })
  }

  retain(): this {
    this.#references++
    return this
  }

  /** With the last reference the saved tensors go, and so on to the inputs. */
  release(): void {
    const stack: TapeNode[] = [this]
    for (let node = stack.pop(); node; node = stack.pop()) {
      if (--node.#references > 0) continue
      node.free()
      for (const source of node.sources) if (source instanceof TapeNode) stack.push(source)
    }
  }

  /** Drops what forward saved. */
  free(): void {
    if (this.#freed) return
    this.#freed = true
    for (const t of this.#saved as readonly (Tensor | undefined)[]) t?.dispose()
    this.#saved = []
    this.#recomputation?.leave()
  }
}

/** Leaves whose slot was handed out by `gradOut` in the backward pass that runs. */
const claimed = new Set<Tensor>()

/**
 * Makes an op: a function of its inputs and arguments that records itself on the tape.
 * @throws ArgumentError for a definition without name or forward; from the op for inputs that are no live tensors of one device
 */
export function defineOp<I extends Inputs, A = undefined>(definition: OpDefinition<I, A>): (inputs: I, args: A) => Tensor {
  if (typeof definition?.name !== 'string') throw refusal('defineOp', definition?.name, 'an object with a text as name', 'name')
  checkFunction('defineOp', definition.forward, 'forward')
  if (definition.backward !== undefined) checkFunction('defineOp', definition.backward, 'backward')
  return (inputs, args) => {
    const device = deviceOf(definition.name, inputs)
    currentRecomputation()?.reads(definition.name, inputs)
    const outerOp = device.op
    device.op = definition.name
    const node = new TapeNode(definition, inputs, args)
    try {
      const out = scope(() => {
        const result = noGrad(() => definition.forward(node, inputs, args))
        // An op that has nothing to do may return its input; the tape needs a tensor of its own.
        return inputs.includes(result) ? result.detach() : result
      })
      if (node.needs.includes(true)) {
        out.requiresGrad = true
        out.node = node
      } else node.release()
      watcher?.(definition.name, out)
      return out
    } catch (error) {
      node.release()
      throw error
    } finally {
      device.op = outerOp
    }
  }
}

/** The device of an op's inputs. @throws ArgumentError for inputs that are no live tensors of one device, or none at all */
function deviceOf(op: string, inputs: Inputs): Device {
  let device: Device | undefined
  for (const input of inputs) {
    if (input === undefined) continue
    checkTensor(op, input)
    device ??= input.device
    if (input.device !== device) throw new ArgumentError(`${op}: tensors of two devices; move one with data() first`)
  }
  if (!device) throw new ArgumentError(`${op}: got no tensors, takes at least one`)
  return device
}

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
        propagate(output.node, first)
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
    device.recordForked(coalesces ? 'coalesced' : 'serial', () => visit(device, nodes, root, cotangent))
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
      watcher?.(device.op, value)
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
