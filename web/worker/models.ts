import { openDevice } from '#platform'
import { withDevice } from '../../engine/device/defaultDevice.ts'
import { concat, Device, DeviceLostError, noGrad, scope, type Tensor, UserError } from '../../engine/index.ts'
import { holdFile } from '../../engine/platform/browserFiles.ts'
import { branchShape, clsAttention, type Model, ViT } from '../../model/index.ts'
import { readImages } from '../../train/data/images.ts'
import { normalizeInto, normalizeTables } from '../../train/data/normalize.ts'
import { imageTensor } from '../../train/modelInput.ts'
import { type Checkpoint, modelOf, readCheckpoint } from '../../train/run/checkpoint.ts'
import type { DataInfo } from '../../train/run/metadata.ts'
import type { Answer, ModelInfo, ModelSource, Question } from '../protocol.ts'
import { MODEL } from './kept.ts'
import { isKept } from './storage.ts'
import type { Training } from './training.ts'
import { turns } from './turns.ts'

/** The model that comes with the page. */
const SHIPPED = 'model/mnist.safetensors'

/** A model that answers, and what its images need. */
interface Answering {
  model: Model
  info: DataInfo
}

/** The model of a file, with what makes it anew when its device is lost. */
interface Opened extends Answering {
  id: string
  checkpoint: Checkpoint
}

/** The model that answers in the tab Try: that of the open run, or one of a file. */
export class Models {
  readonly #training: Training
  #own: Opened | undefined
  #ids = 0
  readonly #inTurn = turns()

  constructor(training: Training) {
    this.#training = training
  }

  /** Takes another model. The one before it answers until this one is there, and goes on where it is not. */
  take(source: ModelSource): Promise<ModelInfo> {
    return this.#inTurn(async () => {
      const run = source === 'run' ? this.#training.model : undefined
      if (run) return describe(run, runId(run.id), 'the run')
      if (source === 'run' && !(await isKept(MODEL))) throw new UserError('there is no run yet; begin one in the tab Train')
      const path = source === 'run' ? MODEL : source === 'shipped' ? SHIPPED : source.name
      if (typeof source === 'object') holdFile(path, source.file)
      const checkpoint = await readCheckpoint(path).finally(() => typeof source === 'object' && holdFile(path, undefined))
      const from = source === 'run' ? 'the last finished run' : source === 'shipped' ? 'the model of this page' : path
      if (!checkpoint.data)
        throw new UserError(`${from}: does not say how its images are normalised; take a model of this project`)
      const made = await makeModel(checkpoint, this.#own?.model.device)
      this.#own?.model.dispose()
      this.#own = { id: `file ${++this.#ids}`, model: made, info: checkpoint.data, checkpoint }
      return describe(this.#own, this.#own.id, from)
    })
  }

  /** Asks a model; undefined where it is not there any more. */
  async ask(question: Question): Promise<Answer | undefined> {
    const current = this.#current(question.model)
    if (!current) return undefined
    try {
      return await answer(current, question)
    } catch (error) {
      if (!(error instanceof DeviceLostError)) throw error
      await this.#replace(current.model)
      return this.ask(question)
    }
  }

  /** Reads an image as `paraformer predict` does: one of the kind of the user's own data is cropped, any other is stretched. */
  async readImage(model: string, name: string, file: Blob): Promise<Uint8Array | undefined> {
    const current = this.#current(model)
    if (!current) return undefined
    const { channels, imageSize } = current.model.config
    const bytes = new Uint8Array(await file.arrayBuffer())
    return readImages([{ name, bytes }], channels, imageSize, current.info.own ? 'crop' : 'stretch')
  }

  #current(id: string): Answering | undefined {
    const run = this.#training.model
    if (run && id === runId(run.id)) return run
    return this.#own?.id === id ? this.#own : undefined
  }

  /** Makes a model anew whose device was lost. @throws UserError where there is no device for it */
  #replace(lost: Model): Promise<void> {
    return this.#inTurn(async () => {
      const own = this.#own
      if (own?.model === lost) own.model = await makeModel(own.checkpoint, undefined)
      else if (this.#training.model?.model === lost) await this.#training.modelAfter(lost)
    })
  }
}

const runId = (id: number) => `run ${id}`

/** Makes a model on a device that is not the default one, which is that of the run. @param device default a new one */
async function makeModel(checkpoint: Checkpoint, device: Device | undefined): Promise<Model> {
  const on = device ?? new Device(await openDevice({}), {})
  try {
    return withDevice(on, () => modelOf(checkpoint))
  } catch (error) {
    if (!device || !(error instanceof DeviceLostError)) throw error
    return makeModel(checkpoint, undefined)
  }
}

async function answer({ model, info }: Answering, { pixels, order }: Question): Promise<Answer> {
  const { channels, imageSize: size } = model.config
  if (pixels.length !== channels * size * size)
    throw new UserError(`the image has ${pixels.length} bytes; the model takes another size`)
  const image = new Float32Array(pixels.length)
  normalizeInto(image, pixels, normalizeTables(info.mean, info.std))
  const { training } = model
  const [probabilities, attention] = withDevice(model.device, () => {
    model.eval()
    try {
      return noGrad(() =>
        scope(() => {
          const input = imageTensor(model, image, 1)
          return [prefixes(model, input, order), clsAttention(model, input).mean(2)] as const
        }),
      )
    } finally {
      model.train(training)
    }
  })
  const { classes } = model.config
  const [p, weights] = await Promise.all([probabilities.data(), attention.data()])
  const tokens = attention.shape[2]!
  for (const t of [probabilities, attention]) t.dispose()
  const rows = (values: ArrayLike<number>, width: number) =>
    Array.from({ length: values.length / width }, (_, i) => Array.from(values).slice(i * width, (i + 1) * width))
  return { probabilities: rows(p, classes), attention: rows(weights, tokens).map((row) => row.slice(1)) }
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

function describe({ model, info }: Answering, id: string, from: string): ModelInfo {
  const { config } = model
  const { channels, imageSize: size, patchSize, classes, architecture } = config
  return {
    id,
    from,
    architecture,
    branches: model instanceof ViT ? 1 : branchShape(config).branches,
    layers: model instanceof ViT ? model.config.depth : undefined,
    channels,
    size,
    grid: size / patchSize,
    classNames: info.classNames ?? Array.from({ length: classes }, (_, i) => String(i)),
  }
}
