import { checkFunction, refusal, synchronous } from '../base/checks.ts'
import { ContextVariable } from '../base/contextVariable.ts'
import { ArgumentError, ShapeError } from '../base/errors.ts'
import type { Device } from '../device/device.ts'
import type { Lane } from '../graph/lane.ts'
import type { Dtype } from '../layout/dtype.ts'
import { format } from '../layout/shape.ts'
import { staleValue } from '../memory/version.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { scope, withoutScope } from '../tensor/scope.ts'
import { empty, type GradNode, type Tensor, view } from '../tensor/tensor.ts'
import { innermostRecomputation, type Recomputation, type Restorable } from './recomputation.ts'

export type Inputs = readonly (Tensor | undefined)[]

/** The context that an op's forward and backward share. */
export interface OpContext {
  /** By input, whether it needs a gradient. */
  readonly needs: readonly boolean[]
  /** The tensors that forward saved, in order. */
  readonly saved: readonly Tensor[]
  /**
   * Keeps tensors alive until backward has run; backward throws when one of them was changed in place since. Forward calls it once, with
   * undefined in place of tensors that no needed gradient depends on.
   */
  saveForBackward(...tensors: (Tensor | undefined)[]): void
  /**
   * In backward, gives a tensor of undefined content with the shape and dtype of input i. Backward writes the whole gradient of the input
   * into it and returns it. The tensor may be the parameter's slot in an arena of gradients, which saves a copy.
   */
  gradOut(i: number): Tensor
}

/** An op and its derivative. Both run off the tape and in a scope, which frees their temporaries. */
export interface OpDefinition<I extends Inputs, A> {
  name: string
  forward(ctx: OpContext, inputs: I, args: A): Tensor
  /** Returns the gradient of each input, undefined for inputs that need none. `grad` may be a strided view. */
  backward?(ctx: OpContext, grad: Tensor, args: A): readonly (Tensor | undefined)[]
}

export type Watcher = (name: string, result: Tensor) => void

const taping = new ContextVariable(true)
/** While set, it is called with every op's name and result; see `watchOps`. */
const watcher = new ContextVariable<Watcher | undefined>(undefined)
let sequence = 0

/** Passes a result to the watcher of `watchOps`, if any. */
export function reportResult(name: string, result: Tensor): void {
  watcher.current?.(name, result)
}

/**
 * Runs `fn` without recording on the tape: no gradient flows through its results, and no value is saved for backward.
 * @throws ArgumentError when `fn` is no function or returns a promise, since ops after its first await would be recorded
 */
export function noGrad<T>(fn: () => T): T {
  checkFunction('noGrad', fn)
  return synchronous('noGrad', taping.run(false, fn))
}

/** Runs `fn` with recording on the tape, also inside `noGrad`. */
export function enableGrad<T>(fn: () => T): T {
  return taping.run(true, fn)
}

/**
 * Runs `fn` and calls `watch` with the name and result of every op inside it. Gradients go by the name `<op>.backward`.
 * @throws ArgumentError unless both arguments are functions
 */
export function watchOps<T>(watch: Watcher, fn: () => T): T {
  checkFunction('watchOps', watch, 'watch')
  checkFunction('watchOps', fn, 'fn')
  return watcher.run(watch, fn)
}

/** An op on the tape, which turns the gradient of its result into gradients of its inputs. */
export class TapeNode implements OpContext, GradNode, Restorable {
  readonly name: string
  readonly order = sequence++
  readonly needs: readonly boolean[]
  /** By input, the node that made it, or the leaf itself; undefined where no gradient is needed. */
  readonly sources: readonly (TapeNode | Tensor | undefined)[]
  /** The lane in which the node's backward pass is recorded. */
  readonly lane: Lane | undefined
  readonly #device: Device
  readonly #inputs: readonly { shape: readonly number[]; dtype: Dtype }[]
  readonly #backward: ((ctx: OpContext, grad: Tensor) => readonly (Tensor | undefined)[]) | undefined
  #references = 1
  #freed = false
  #saved: readonly Tensor[] = []
  /** By saved tensor, the count of its version when it was saved. */
  #counts: readonly number[] = []
  /** Computes the saved tensors again, if they were not kept. */
  #recomputation: Recomputation | undefined
  /** The gradient of the result, while backward runs. */
  #grad: Tensor | undefined

  constructor(definition: OpDefinition<any, any>, inputs: Inputs, args: unknown) {
    this.name = definition.name
    this.needs = inputs.map((input) => taping.current && (input?.requiresGrad ?? false))
    this.#device = inputs.find((input) => input !== undefined)!.device
    this.lane = this.#device.lane?.backward
    this.#inputs = inputs.map((input) => ({ shape: input?.shape ?? [], dtype: input?.dtype ?? 'float32' }))
    this.sources = inputs.map((input, i) => (this.needs[i] ? (nodeOf(input!)?.retain() ?? input) : undefined))
    const { backward } = definition
    this.#backward = backward && ((ctx, grad) => backward(ctx, grad, args))
  }

  saveForBackward(...tensors: (Tensor | undefined)[]): void {
    if (!this.needs.includes(true)) return
    // Backward reads no tensor that was saved as undefined.
    const detached = () => withoutScope(() => tensors.map((t) => t?.detach() as Tensor))
    const recomputation = innermostRecomputation.current
    if (!recomputation) this.#keep(detached())
    else if (recomputation.save(this, detached)) this.#recomputation = recomputation
  }

  get saved(): readonly Tensor[] {
    this.#recomputation?.compute()
    return this.#saved
  }

  /** Takes the tensors that a recomputation saves in its place. */
  restore(saved: readonly Tensor[]): void {
    if (this.#freed) for (const t of saved as readonly (Tensor | undefined)[]) t?.dispose()
    else this.#keep(saved)
  }

  #keep(saved: readonly Tensor[]): void {
    this.#saved = saved
    this.#counts = saved.map((t) => t?.version.count ?? 0)
  }

  /** @throws StaleValueError when a saved tensor was changed in place since it was saved */
  #checkSaved(): void {
    this.saved.forEach((t: Tensor | undefined, i) => {
      if (t && t.version.count !== this.#counts[i]) throw staleValue(`${this.name}.backward`, t)
    })
  }

  gradOut(i: number): Tensor {
    const source = this.sources[i]
    // Where one leaf is several inputs, only the first may take the slot: gradients are added up in that order.
    const leaf = source instanceof TapeNode || this.sources.indexOf(source) < i ? undefined : source
    if (leaf?.gradSlot && !leaf.grad && !claimed.has(leaf) && !this.#reads(leaf.gradSlot)) {
      claimed.add(leaf)
      return view(leaf.gradSlot)
    }
    const { shape, dtype } = this.#inputs[i]!
    return empty(shape, dtype, this.#device)
  }

  /** Tells whether backward reads the storage of `t`, in which gradients of other parameters of an arena may lie. */
  #reads({ storage }: Tensor): boolean {
    return this.#grad?.storage === storage || this.saved.some((t: Tensor | undefined) => t?.storage === storage)
  }

  /**
   * Computes the gradients of the inputs. Each is a tensor of its own, also where the op returns `grad`, a saved tensor, or one tensor twice.
   * @throws Error when the op has no backward, or the saved tensors are freed; StaleValueError when one of them was changed in place since
   *   the forward pass; ShapeError when a gradient has not the shape and dtype of its input
   */
  backward(grad: Tensor): readonly (Tensor | undefined)[] {
    if (!this.#backward) throw new Error(`${this.name} has no backward; detach its input or compute it inside noGrad`)
    if (this.#freed) {
      throw new Error(`backward: ${this.name} was already differentiated and its values are freed; run the forward pass again`)
    }
    this.#checkSaved()
    this.#grad = grad
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

  /** Drops a reference. The last one frees the saved tensors and drops the references to the nodes of the inputs, and so on. */
  release(): void {
    const stack: TapeNode[] = [this]
    for (let node = stack.pop(); node; node = stack.pop()) {
      if (--node.#references > 0) continue
      node.free()
      for (const source of node.sources) if (source instanceof TapeNode) stack.push(source)
    }
  }

  /** Frees the saved tensors. */
  free(): void {
    if (this.#freed) return
    this.#freed = true
    for (const t of this.#saved as readonly (Tensor | undefined)[]) t?.dispose()
    this.#saved = []
    this.#recomputation?.leave()
  }
}

/** The node that made a tensor. Every GradNode is a TapeNode. */
export function nodeOf({ node }: Tensor): TapeNode | undefined {
  return node as TapeNode | undefined
}

/** The leaves whose slot `gradOut` has given out in the current backward pass. */
export const claimed = new Set<Tensor>()

/**
 * Makes an op: a function of inputs and arguments that records itself on the tape where an input needs a gradient.
 * @throws ArgumentError for a definition without name or forward, and from the op unless its inputs are live tensors of one device
 */
export function defineOp<I extends Inputs, A = undefined>(definition: OpDefinition<I, A>): (inputs: I, args: A) => Tensor {
  if (typeof definition?.name !== 'string') throw refusal('defineOp', definition?.name, 'an object with a text as name', 'name')
  checkFunction('defineOp', definition.forward, 'forward')
  if (definition.backward !== undefined) checkFunction('defineOp', definition.backward, 'backward')
  return (inputs, args) => {
    const device = deviceOf(definition.name, inputs)
    innermostRecomputation.current?.reads(definition.name, inputs)
    const outerOp = device.op
    device.op = definition.name
    const node = new TapeNode(definition, inputs, args)
    try {
      const out = scope(() => {
        const result = noGrad(() => definition.forward(node, inputs, args))
        // A forward that returns its input gets a view of it, since the tape needs a tensor of its own.
        return inputs.includes(result) ? result.detach() : result
      })
      if (node.needs.includes(true)) {
        out.requiresGrad = true
        out.node = node
      } else node.release()
      reportResult(definition.name, out)
      return out
    } catch (error) {
      node.release()
      throw error
    } finally {
      device.op = outerOp
    }
  }
}

/** The device of an op's inputs. @throws ArgumentError unless there are inputs and all are live tensors of one device */
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
