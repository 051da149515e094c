import { type Captured, capture, type Tensor, withoutScope } from '../../engine/index.ts'

/**
 * A forward pass over branches and the backward pass after it, captured apart: the host waits between them for the gradient, which
 * comes from another device. The values that backward needs of the forward pass have memory of their own.
 */
export class BranchPass {
  readonly #forward: Captured<[Tensor], Tensor>
  readonly #backward: Captured<[Tensor], void>
  /** The result of the forward pass on the tape, from the capture of `forward` to that of `backward`. */
  #tape: Tensor | undefined

  /**
   * @param rows computes the rows that the head reads from images, on the tape. Images must always have the same shape, and the
   *   leaves must have gradients in every pass or in none, or else `backward` would be captured again, without its tape
   */
  constructor(rows: (images: Tensor) => Tensor) {
    this.#forward = capture((images: Tensor) => {
      this.#tape = withoutScope(() => rows(images))
      return this.#tape
    })
    this.#backward = capture((cotangent: Tensor) => this.#tape!.backward(cotangent))
  }

  /** Computes the rows; the next call overwrites them. */
  forward(images: Tensor): Tensor {
    return this.#forward(images)
  }

  /** Sends the gradient of the last rows to the parameters. */
  backward(cotangent: Tensor): void {
    this.#backward(cotangent)
    this.#tape?.dispose()
    this.#tape = undefined
  }

  dispose(): void {
    this.#tape?.dispose()
    this.#forward.dispose()
    this.#backward.dispose()
  }
}
