/** Pixels of a side of the canvas. */
const SIDE = 280

/** A canvas on which a visitor draws a digit, or which shows an image that was dropped. */
export class Drawing {
  readonly canvas: HTMLCanvasElement
  readonly #context: CanvasRenderingContext2D

  /** @param onChange is called after each stroke */
  constructor(canvas: HTMLCanvasElement, onChange: () => void) {
    this.canvas = canvas
    canvas.width = canvas.height = SIDE
    this.#context = canvas.getContext('2d', { willReadFrequently: true })!
    let from: { x: number; y: number } | undefined
    const place = ({ clientX, clientY }: PointerEvent) => {
      const { left, top, width, height } = canvas.getBoundingClientRect()
      return { x: ((clientX - left) / width) * SIDE, y: ((clientY - top) / height) * SIDE }
    }
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || !event.isPrimary) return
      canvas.setPointerCapture(event.pointerId)
      from = place(event)
      this.#line(from, from)
      onChange()
    })
    canvas.addEventListener('pointermove', (event) => {
      if (!from || !event.isPrimary) return
      const to = place(event)
      this.#line(from, to)
      from = to
      onChange()
    })
    for (const name of ['pointerup', 'pointercancel'] as const)
      canvas.addEventListener(name, () => {
        from = undefined
      })
    this.example()
  }

  clear(): void {
    this.#context.fillStyle = '#000'
    this.#context.fillRect(0, 0, SIDE, SIDE)
  }

  /** Draws the digit seven, so that there is an answer before a visitor draws. */
  example(): void {
    this.clear()
    this.#line({ x: 70, y: 75 }, { x: 205, y: 70 })
    this.#line({ x: 205, y: 70 }, { x: 125, y: 225 })
  }

  /** Shows the largest square in the middle of an image. */
  show(image: ImageBitmap): void {
    const side = Math.min(image.width, image.height)
    this.clear()
    this.#context.drawImage(image, (image.width - side) / 2, (image.height - side) / 2, side, side, 0, 0, SIDE, SIDE)
  }

  /** Returns the image, scaled to `size` pixels a side, as bytes [channels, size, size]. */
  pixels(size: number, channels: number): Uint8Array {
    const small = new OffscreenCanvas(size, size).getContext('2d', { willReadFrequently: true })!
    small.imageSmoothingQuality = 'high'
    small.drawImage(this.canvas, 0, 0, size, size)
    const { data } = small.getImageData(0, 0, size, size)
    const area = size * size
    return Uint8Array.from({ length: channels * area }, (_, i) => {
      const at = 4 * (i % area)
      // A model of one channel sees the mean of the colours.
      return channels === 1 ? (data[at]! + data[at + 1]! + data[at + 2]!) / 3 : data[at + Math.floor(i / area)]!
    })
  }

  #line(from: { x: number; y: number }, to: { x: number; y: number }): void {
    Object.assign(this.#context, { strokeStyle: '#fff', lineWidth: SIDE / 12, lineCap: 'round', lineJoin: 'round' })
    this.#context.beginPath()
    this.#context.moveTo(from.x, from.y)
    this.#context.lineTo(to.x + 0.01, to.y)
    this.#context.stroke()
  }
}
