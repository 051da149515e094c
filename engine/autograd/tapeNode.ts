import { ContextVariable } from '../base/contextVariable.ts'
import { ArgumentError, ShapeError } from '../base/errors.ts'
import type { Device } from '../device/device.ts'
import type { Lane } from '../graph/lane.ts'
import type { Dtype } from '../layout/dtype.ts'
import { equalShapes, format } from '../layout/shape.ts'
import { equalLayouts, rowMajor, type TensorLayout } from '../layout/tensorLayout.ts'
import { staleValue } from '../memory/version.ts'
import { innermostScope } from '../tensor/scope.ts'
import { emptyOf, type GradNode, type Tensor, view } from '../tensor/tensor.ts'
import type { DifferentiableContext, Inputs, OpContext, OpDefinition } from './definition.ts'
import { innermostRecomputation, type Recomputation, type Restorable } from './recomputation.ts'

/** Whether ops are recorded on the tape. */
export const taping = new ContextVariable(true)
let sequence = 0

/** The layout and dtype of an input. */
interface InputType {
  readonly layout: TensorLayout
  readonly dtype: Dtype
}

/** Stands for an input that is left out. */
const ABSENT: InputType = { layout: rowMajor([]), dtype: 'float32' }

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
  readonly #inputs: readonly InputType[]
  /** By input that is a leaf, the count of its version. */
  readonly #leafCounts: readonly number[]
  readonly #definition: OpDefinition<any, any>
  readonly #args: unknown
  /** The inputs themselves, while forward runs. */
  #running: Inputs
  #references = 1
  #freed = false
  #saved: readonly Tensor[] = []
  /** By saved tensor, the count of its version when it was saved. */
  #counts: readonly number[] = []
  /** By input, the place among the saved tensors of itself or a row-major copy; -1 where it is not saved. */
  #keptAt: readonly number[] = []
  /** The place of the result among the saved tensors; -1 where it is not saved. */
  #resultAt = -1
  /** Computes the saved tensors again, if they were not kept. */
  #recomputation: Recomputation | undefined
  /** The gradient of the result, while backward runs. */
  #grad: Tensor | undefined

  /** @param inputs of which at least one requires a gradient */
  constructor(definition: OpDefinition<any, any>, inputs: Inputs, args: unknown) {
    this.name = definition.name
    this.#device = inputs.find((input) => input !== undefined)!.device
    this.lane = this.#device.lane?.backward
    const [needs, types, sources, counts]: [boolean[], InputType[], (TapeNode | Tensor | undefined)[], number[]] = [
      [],
      [],
      [],
      [],
    ]
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[i]
      const needed = input?.requiresGrad ?? false
      needs.push(needed)
      types.push(input ? { layout: input.layout, dtype: input.dtype } : ABSENT)
      sources.push(needed ? (nodeOf(input!)?.retain() ?? input) : undefined)
      counts.push(needed && !input!.node ? input!.version.count : 0)
    }
    this.needs = needs
    this.#inputs = types
    this.sources = sources
    this.#leafCounts = counts
    this.#definition = definition
    this.#args = args
    this.#running = inputs
  }

  saveForBackward(...tensors: (Tensor | undefined)[]): void {
    const keptAt: number[] = []
    for (const input of this.#running) keptAt.push(placeOf(input, tensors))
    this.#keptAt = keptAt
    const recomputation = innermostRecomputation.current
    if (!recomputation) this.#keep(detached(tensors))
    else if (recomputation.save(this, () => detached(tensors))) this.#recomputation = recomputation
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

  /** Notes the result of forward, which has ended. */
  end(out: Tensor): void {
    this.#running = []
    this.#resultAt = this.#saved.findIndex((t: Tensor | undefined) => {
      return t?.storage === out.storage && equalLayouts(t.layout, out.layout)
    })
  }

  #keep(saved: readonly Tensor[]): void {
    this.#saved = saved
    const counts: number[] = []
    for (const t of saved as readonly (Tensor | undefined)[]) counts.push(t?.version.count ?? 0)
    this.#counts = counts
  }

  /** @throws StaleValueError when a saved tensor was changed in place since it was saved */
  #checkSaved(): void {
    const saved: readonly (Tensor | undefined)[] = this.saved
    for (let i = 0; i < saved.length; i++)
      if (saved[i] && saved[i]!.version.count !== this.#counts[i]) throw staleValue(`${this.name}.backward`, saved[i]!)
  }

  gradOut(i: number): Tensor {
    const source = this.sources[i]
    // Where one leaf is several inputs, only the first may take the slot: gradients are added up in that order.
    const leaf = source instanceof TapeNode || this.sources.indexOf(source) < i || !slotsAreOpen.current ? undefined : source
    if (leaf?.gradSlot && !leaf.grad && !claimed.has(leaf) && !this.#reads(leaf.gradSlot)) {
      claimed.add(leaf)
      return view(leaf.gradSlot)
    }
    const { layout, dtype } = this.#inputs[i]!
    return emptyOf(rowMajor(layout.shape), dtype, this.#device)
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
    const { backward } = this.#definition
    if (!backward) throw new Error(`${this.name} has no backward; detach its input or compute it inside noGrad`)
    this.#checkAlive()
    this.#grad = grad
    const gradients = this.#checkGradients(backward(this, grad, this.#args))
    const all: (Tensor | undefined)[] = []
    for (const value of gradients) {
      const own = value?.detach()
      if (own) own.allOnes = value!.allOnes
      all.push(own)
    }
    return all
  }

  /**
   * Computes the gradients of some inputs by ops on the tape.
   * @param needs by input, whether its gradient is asked for
   * @throws ArgumentError when the op cannot be differentiated twice, or lies in a part that is recomputed; else as `backward`
   */
  differentiableBackward(grad: Tensor, needs: readonly boolean[]): readonly (Tensor | undefined)[] {
    const { differentiableBackward } = this.#definition
    if (!differentiableBackward) {
      throw new ArgumentError(`grad: ${this.name} has no second derivative; leave createGraph out or compute it by other ops`)
    }
    if (this.#recomputation)
      throw new ArgumentError('grad: createGraph does not reach into recompute(); call the function without it')
    this.#checkAlive()
    const ctx: DifferentiableContext = {
      needs,
      saved: this.saved,
      input: (i) => this.#leaf(i) ?? this.#onTape(this.#keptAt[i]!, this.sources[i] as TapeNode | undefined),
      output: () => this.#onTape(this.#resultAt, this),
    }
    return this.#checkGradients(differentiableBackward(ctx, grad, this.#args))
  }

  /** Input i where it is a leaf. @throws StaleValueError when it was changed in place since the forward pass */
  #leaf(i: number): Tensor | undefined {
    const source = this.sources[i]
    if (!source || source instanceof TapeNode) return undefined
    if (source.version.count !== this.#leafCounts[i]) throw staleValue(`${this.name}.backward`, source)
    return source
  }

  /** The saved tensor number k as what `source` made. */
  #onTape(k: number, source: TapeNode | undefined): Tensor {
    const value = this.#saved[k]
    if (!value)
      throw new ArgumentError(
        `grad: ${this.name} did not keep what its second derivative reads; every input must require gradients, outside autocast`,
      )
    const t = view(value)
    if (!source) return t
    t.requiresGrad = true
    t.node = source.retain()
    return t
  }

  #checkAlive(): void {
    if (this.#freed) {
      throw new Error(`backward: ${this.name} was already differentiated and its values are freed; run the forward pass again`)
    }
    this.#checkSaved()
  }

  /** Leaves out gradients that nothing takes. @throws ShapeError when a gradient has not the shape and dtype of its input */
  #checkGradients(values: readonly (Tensor | undefined)[]): readonly (Tensor | undefined)[] {
    const taken: (Tensor | undefined)[] = []
    for (let i = 0; i < values.length; i++) {
      const value = this.sources[i] ? values[i] : undefined
      const { layout, dtype } = this.#inputs[i] ?? ABSENT
      if (value && (value.dtype !== dtype || !equalShapes(value.shape, layout.shape))) {
        const [got, takes] = [`${value.dtype} ${format(value.shape)}`, `${dtype} ${format(layout.shape)}`]
        throw new ShapeError(`${this.name}.backward: gave a gradient ${got} for input ${i}, which is ${takes}`)
      }
      taken.push(value)
    }
    return taken
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

/** The place among saved tensors of an input itself, or of a row-major copy of it; -1 where it is not saved. */
function placeOf(input: Tensor | undefined, tensors: readonly (Tensor | undefined)[]): number {
  for (let i = 0; i < tensors.length; i++) {
    const t = tensors[i]
    if (t && (t === input || t.copiedFrom?.deref() === input)) return i
  }
  return -1
}

/** The tensors off the tape and outside of scopes. Backward reads no tensor that was saved as undefined. */
function detached(tensors: readonly (Tensor | undefined)[]): Tensor[] {
  const outer = innermostScope.current
  const own: (Tensor | undefined)[] = []
  innermostScope.current = undefined
  try {
    for (const t of tensors) own.push(t?.detach())
  } finally {
    innermostScope.current = outer
  }
  return own as Tensor[]
}

/** The node that made a tensor. Every GradNode is a TapeNode. */
export function nodeOf({ node }: Tensor): TapeNode | undefined {
  return node as TapeNode | undefined
}

/** Whether `gradOut` may give out slots of leaves, as it does in a pass that sets the gradients of leaves. */
export const slotsAreOpen = new ContextVariable(true)

/** The leaves whose slot `gradOut` has given out in the current backward pass. */
export const claimed = new Set<Tensor>()
