import { refusal } from '../engine/base/checks.ts'
import { ArgumentError, ShapeError } from '../engine/base/errors.ts'
import { linear, noGrad, scope, stack, type Tensor } from '../engine/index.ts'
import { checkTensor } from '../engine/tensor/arguments.ts'
import type { ModelConfig } from './config.ts'
import { Ensemble } from './ensemble.ts'
import { type Attention, clsRow } from './layers.ts'
import { VisionModel } from './vision.ts'

/**
 * Computes how much the CLS token attends to each token in the last layer of every branch (of the one branch of a ViT, of every member of
 * an ensemble); off the tape, without dropout.
 * @param images float32 [B, C, H, W], of the config's channels and size
 * @returns [m, B, heads, T + 1], where each row sums to 1; token 0 is the CLS token itself, the others are patches row by row
 * @throws ArgumentError for a model that is none of the library's, and images on another device; ShapeError for images of another shape; UserError for branches that
 *   live on other devices
 */
export function clsAttention(model: VisionModel<ModelConfig> | Ensemble, images: Tensor): Tensor {
  checkTensor('clsAttention', images, 'images')
  if (!(model instanceof VisionModel || model instanceof Ensemble))
    throw refusal('clsAttention', model, 'a ParaFormer, ViT or Ensemble', 'model')
  const { channels, imageSize } = model.config
  const takes = [channels, imageSize, imageSize]
  if (images.dtype === 'int32' || images.shape.length !== 4 || images.shape.slice(1).join() !== takes.join()) {
    const got = `${images.dtype} [${images.shape.join(', ')}]`
    throw new ShapeError(`clsAttention: images are ${got}; this model takes float32 [B, ${takes.join(', ')}]`)
  }
  if (images.device !== model.device)
    throw new ArgumentError('clsAttention: images are on another device than the model; make them there')
  const { training } = model
  model.eval()
  try {
    return noGrad(() => scope(() => stack(model instanceof Ensemble ? model.members.flatMap(ofVit) : ofVit(model), 0)))
  } finally {
    model.train(training)
  }

  /** Returns the weights of each branch, [B, heads, T + 1]. */
  function ofVit(vision: VisionModel<ModelConfig>): Tensor[] {
    const inputs: Tensor[] = []
    const read = (name: string, u: Tensor) => {
      const [, branch, layer] = /^branches\.(\d+)\.layers\.(\d+)\.norm1$/.exec(name) ?? []
      if (branch !== undefined && Number(layer) === vision.branches[Number(branch)]!.layers.length - 1) inputs.push(u)
    }
    vision.features(images, { taps: read })
    return inputs.map((u, i) => clsWeights(vision.branches[i]!.layers.at(-1)!.attention, u))
  }
}

/** Returns softmax(q K^T / sqrt(Dh)) of the CLS token's query. @param u the layer's normalised input, [B, N, D] */
function clsWeights({ qkv, heads }: Attention, u: Tensor): Tensor {
  const [B, N] = u.shape as [number, number, number]
  const width = qkv.weight.shape[0]! / 3
  const dimHead = width / heads
  const project = (x: Tensor, i: number) => {
    const block = [[i * width, (i + 1) * width]] as const
    return linear(x, qkv.weight.slice(block), qkv.bias?.slice(block)) // [..., H * Dh]
  }
  const q = project(clsRow(u), 0).reshape([B, heads, 1, dimHead])
  const k = project(u, 1).reshape([B, N, heads, dimHead]).permute([0, 2, 3, 1]) // [B, H, Dh, N]
  const scores = q.matmul(k).mul(dimHead ** -0.5) // [B, H, 1, N]
  return scores.softmax(-1).reshape([B, heads, N])
}
