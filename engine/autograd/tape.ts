import { checkFunction, refusal, synchronous } from '../base/checks.ts'
import { ArgumentError, ShapeError } from '../base/errors.ts'
import type { Device } from '../device/device.ts'
import type { Lane } from '../graph/lane.ts'
import type { Dtype } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import { staleValue } from '../memory/version.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { scope, withoutScope } from '../tensor/scope.ts'
import { empty, type GradNode, type Tensor, view } from '../tensor/tensor.ts'
import { currentRecomputation, type Recomputation, type Restorable } from './recomputation.ts'

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

/** Tells `watchOps` of a result. */
export function tell(name: string, result: Tensor): void {
  watcher?.(name, result)
}

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
export class TapeNode implements OpContext, GradNode, Restorable {
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
    this.sources = inputs.map((input, i) => (this.needs[i] ? (nodeOf(input!)?.retain() ?? input) : undefined))
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

/** The node that made a tensor: all nodes are made here. */
export function nodeOf({ node }: Tensor): TapeNode | undefined {
  return node as TapeNode | undefined
}

/** Leaves whose slot was handed out by `gradOut` in the backward pass that runs. */
export const claimed = new Set<Tensor>()

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
export function deviceOf(op: string, inputs: Inputs): Device {
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
