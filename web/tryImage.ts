import { onPress } from './buttons.ts'
import { byId } from './dom.ts'
import { Drawing } from './drawing.ts'
import type { ModelInfo } from './protocol.ts'

/** The image of the tab Try: a drawing, or a file, with the patches into which the model cuts it. */
export class TryImage {
  readonly #drawing: Drawing
  /** The file that is shown; undefined for a drawing. */
  #file: File | undefined

  /**
   * @param onChange is called when the image has changed
   * @param onFile takes a file that the visitor opens
   */
  constructor(onChange: () => void, onFile: (file: File) => void) {
    const changed = () => {
      this.#file = undefined
      onChange()
    }
    this.#drawing = new Drawing(byId<HTMLCanvasElement>('draw'), changed)
    onPress(byId('clear'), () => {
      this.#drawing.clear()
      changed()
    })
    const open = byId<HTMLInputElement>('open-image')
    open.addEventListener('change', () => {
      const [file] = open.files ?? []
      // The same file may be opened again.
      open.value = ''
      if (file) onFile(file)
    })
  }

  get canvas(): HTMLCanvasElement {
    return this.#drawing.canvas
  }

  /** The file that is shown; undefined for a drawing. The answer is about the file, not about what the canvas shows of it. */
  get file(): File | undefined {
    return this.#file
  }

  /** Shows a file that a model can read. */
  async show(file: File): Promise<void> {
    const image = await createImageBitmap(file, { colorSpaceConversion: 'none' })
    this.#drawing.show(image)
    image.close()
    this.#file = file
  }

  /** Returns the drawing as a model takes it: bytes [C, H, W]. */
  pixels({ size, channels }: ModelInfo): Uint8Array {
    return this.#drawing.pixels(size, channels)
  }

  /** Draws the borders of the patches. @param grid patches of a side */
  cut(grid: number): void {
    byId('grid').style.setProperty('--patch', `${100 / grid}%`)
  }
}
