import {
  concat,
  DeviceLostError,
  noGrad,
  requestDevice,
  scope,
  setDefaultDevice,
  type Tensor,
  UserError,
} from '../../engine/index.ts'
import { holdFile } from '../../engine/platform/browserFiles.ts'
import { branchShape, clsAttention, type Model, ViT } from '../../model/index.ts'
import { readImages } from '../../train/data/images.ts'
import { normalizeInto, normalizeTables } from '../../train/data/normalize.ts'
import { imageTensor } from '../../train/modelInput.ts'
import { modelOf, readCheckpoint } from '../../train/run/checkpoint.ts'
import type { DataInfo } from '../../train/run/metadata.ts'
import type { Answer, ModelInfo, Question } from '../protocol.ts'
import { exists, MODEL } from './kept.ts'
import type { Training } from './training.ts'

/** The model that comes with the page. */
const SHIPPED = 'model/mnist.safetensors'

/** The model that answers in the tab Try: that of the open run, or one of a file. */
export class Models {
  readonly #training: Training
  #own: { model: Model; info: DataInfo } | undefined
  #takesRun = false

  constructor(training: Training) {
    this.#training = training
  }

  async take(source: 'run' | 'shipped' | { name: string; file: Blob }): Promise<ModelInfo> {
    this.#takesRun = source === 'run' && this.#training.model !== undefined
    if (source === 'run' && !this.#takesRun && !(await exists(MODEL)))
      throw new UserError('there is no run yet; begin one in the tab Train')
    if (this.#takesRun) return describe(this.#training.model!, 'the run')
    const path = source === 'run' ? MODEL : source === 'shipped' ? SHIPPED : source.name
    if (typeof source === 'object') holdFile(source.name, source.file)
    const checkpoint = await readCheckpoint(path).finally(() => typeof source === 'object' && holdFile(source.name, undefined))
    if (!checkpoint.data)
      throw new UserError(`${path}: does not say how its images are normalised; take a model of this project`)
    const device = this.#own?.model.device ?? (await requestDevice())
    this.#own?.model.dispose()
    setDefaultDevice(device)
    this.#own = { model: modelOf(checkpoint), info: checkpoint.data }
    // A run makes its tensors on the default device.
    const training = this.#training.model?.model.device
    if (training) setDefaultDevice(training)
    return describe(this.#own, source === 'shipped' ? 'the model of this page' : path)
  }

  async ask(question: Question): Promise<Answer> {
    try {
      return await this.#ask(question)
    } catch (error) {
      if (!(error instanceof DeviceLostError) || this.#takesRun) throw error
      this.#own = undefined
      throw new UserError('the device of the model was lost; choose the model again')
    }
  }

  /** Reads an image as `paraformer predict` does: one of the kind of the user's own data is cropped, any other is stretched. */
  async readImage(name: string, file: Blob): Promise<Uint8Array> {
    const { model, info } = this.#current()
    const { channels, imageSize } = model.config
    const bytes = new Uint8Array(await file.arrayBuffer())
    return readImages([{ name, bytes }], channels, imageSize, info.own ? 'crop' : 'stretch')
  }

  #current(): { model: Model; info: DataInfo } {
    const current = this.#takesRun ? this.#training.model : this.#own
    if (!current) throw new UserError('there is no model yet; take one')
    return current
  }

  async #ask({ pixels, order }: Question): Promise<Answer> {
    const { model, info } = this.#current()
    const { channels, imageSize: size } = model.config
    if (pixels.length !== channels * size * size)
      throw new UserError(`the image has ${pixels.length} bytes; the model takes another size`)
    const image = new Float32Array(pixels.length)
    normalizeInto(image, pixels, normalizeTables(info.mean, info.std))
    const { training } = model
    model.eval()
    const [probabilities, attention] = noGrad(() =>
      scope(() => {
        const input = imageTensor(model, image, 1)
        return [prefixes(model, input, order), clsAttention(model, input).mean(2)] as const
      }),
    )
    model.train(training)
    const { classes } = model.config
    const [p, weights] = [await probabilities.data(), await attention.data()]
    const tokens = attention.shape[2]!
    for (const t of [probabilities, attention]) t.dispose()
    const rows = (values: ArrayLike<number>, width: number) =>
      Array.from({ length: values.length / width }, (_, i) => Array.from(values).slice(i * width, (i + 1) * width))
    return { probabilities: rows(p, classes), attention: rows(weights, tokens).map((row) => row.slice(1)) }
  }
}

/** Computes the probabilities of every prefix of an order of branches, [k, classes]. Only a ParaFormer can leave branches out. */
function prefixes(model: Model, input: Tensor, order: readonly number[]): Tensor {
  if (model instanceof ViT) return model.forward(input).softmax(-1)
  if (model.config.architecture === 'ensemble')
    return model.forwardPrefixes(input).softmax(-1).reshape([-1, model.config.classes])
  const outputs = (model as Extract<Model, { branchOutputs: unknown }>).outputs(input) // [m, 1, D]
  const chosen = concat(
    order.map((branch) => outputs.slice([[branch, branch + 1]])),
    0,
  )
  return model.forwardPrefixes(input, { outputs: chosen }).softmax(-1).reshape([order.length, model.config.classes])
}

function describe({ model, info }: { model: Model; info: DataInfo }, from: string): ModelInfo {
  const { channels, imageSize: size, patchSize, classes } = model.config
  return {
    from,
    branches: model instanceof ViT ? 1 : branchShape(model.config).branches,
    channels,
    size,
    grid: size / patchSize,
    classNames: info.classNames ?? Array.from({ length: classes }, (_, i) => String(i)),
  }
}
