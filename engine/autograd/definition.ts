import type { Tensor } from '../tensor/tensor.ts'

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

/** The forward pass of an op as its `differentiableBackward` sees it. */
export interface DifferentiableContext {
  /** By input, whether its gradient is asked for. */
  readonly needs: readonly boolean[]
  /** The tensors that forward saved, in order, off the tape. */
  readonly saved: readonly Tensor[]
  /** Gives input i on the tape. It is a leaf, or forward saved it or a row-major copy of it. */
  input(i: number): Tensor
  /** Gives the result on the tape. Forward saved it. */
  output(): Tensor
}

/** An op and its derivative. Forward and backward run off the tape and in a scope, which frees their temporaries. */
export interface OpDefinition<I extends Inputs, A> {
  name: string
  forward(ctx: OpContext, inputs: I, args: A): Tensor
  /** Returns the gradient of each input, undefined for inputs that need none. `grad` may be a strided view. */
  backward?(ctx: OpContext, grad: Tensor, args: A): readonly (Tensor | undefined)[]
  /**
   * Computes the same gradients by ops on the tape, so that they can be differentiated again (`createGraph` of `grad`). It takes inputs and
   * result from `ctx.input(i)` and `ctx.output()`, since gradients flow to these alone.
   */
  differentiableBackward?(ctx: DifferentiableContext, grad: Tensor, args: A): readonly (Tensor | undefined)[]
}
