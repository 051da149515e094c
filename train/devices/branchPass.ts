import { type Captured, capture, type Tensor, withoutScope } from '../../engine/index.ts'
import type { Parameter } from '../../model/index.ts'
import { RecordedPass } from './recordedPass.ts'

/**
 * A forward pass over branches and the backward pass after it, each recorded once and replayed (see `capture`): in between the host
 * waits for the gradient that comes from elsewhere. What backward needs of the forward pass has memory of its own.
 */
export class BranchPass {
  readonly #forward: Captured<[Tensor], Tensor>
  readonly #backward: RecordedPass<[Tensor], void>
  /** On the tape, from recording the forward pass to recording the backward pass. */
  #tape: Tensor | undefined

  /**
   * @param rows computes what the head reads from images, on the tape; always of the same shape
   * @param parameters that gradients may reach, all in arenas; the passes always find them as at first, with gradients or without
   */
  constructor(rows: (images: Tensor) => Tensor, parameters: readonly Parameter[]) {
    this.#forward = capture((images: Tensor) => {
      this.#tape = withoutScope(() => rows(images))
      return this.#tape
    })
    this.#backward = new RecordedPass((cotangent: Tensor) => this.#tape!.backward(cotangent), parameters)
  }

  /** What the head reads; the next call overwrites it. */
  forward(images: Tensor): Tensor {
    return this.#forward(images)
  }

  /** Sends the gradient of what `forward` gave last to the parameters. */
  backward(cotangent: Tensor): void {
    this.#backward.run(cotangent)
    this.#tape?.dispose()
    this.#tape = undefined
  }

  dispose(): void {
    this.#tape?.dispose()
    this.#forward.dispose()
    this.#backward.dispose()
  }
}
