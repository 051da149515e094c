/** Bytes that crossed between devices. */
export class Traffic {
  /** Images from the host to devices other than device 0. */
  images = 0
  /** Rows of branches to device 0. */
  rows = 0
  /** Gradients of the rows from device 0. */
  cotangents = 0
  /** Gradients of the stem to device 0. */
  stemGradients = 0
  /** The stem's parameters from device 0. */
  stem = 0

  /** Everything but the images. */
  get between(): number {
    return this.rows + this.cotangents + this.stemGradients + this.stem
  }
}
