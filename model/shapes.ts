import { branchShape, type EnsembleConfig, type ModelConfig } from './config.ts'

/**
 * Returns the shape of every parameter of a model by its checkpoint name. It needs no device and allocates no parameter.
 * @param config complete and checked
 */
export function parameterShapes(config: ModelConfig): Map<string, { shape: readonly number[] }> {
  if (config.architecture === 'ensemble') return memberShapes(config)
  const { imageSize, patchSize, channels, dim, heads, dimHead, mlpDim, classes, qkvBias = false } = config
  const { branches, depth } = branchShape(config)
  const tokens = (imageSize / patchSize) ** 2
  const inner = heads * dimHead
  const shapes = new Map<string, { shape: readonly number[] }>()
  const norm = (name: string) => {
    shapes.set(`${name}.weight`, { shape: [dim] })
    shapes.set(`${name}.bias`, { shape: [dim] })
  }
  const linear = (name: string, outputs: number, inputs: number, bias = true) => {
    shapes.set(`${name}.weight`, { shape: [outputs, inputs] })
    if (bias) shapes.set(`${name}.bias`, { shape: [outputs] })
  }
  linear('embed', dim, channels * patchSize ** 2)
  shapes.set('clsToken', { shape: [1, 1, dim] })
  shapes.set('posEmbedding', { shape: [1, tokens + 1, dim] })
  for (let i = 0; i < branches; i++) {
    for (let l = 0; l < depth; l++) {
      const layer = `branches.${i}.layers.${l}`
      norm(`${layer}.norm1`)
      linear(`${layer}.attention.qkv`, 3 * inner, dim, qkvBias)
      linear(`${layer}.attention.out`, dim, inner)
      norm(`${layer}.norm2`)
      linear(`${layer}.mlp.fc1`, mlpDim, dim)
      linear(`${layer}.mlp.fc2`, dim, mlpDim)
    }
  }
  norm('head.norm')
  linear('head.linear', classes, dim)
  return shapes
}

/** Returns the shapes of the parameters of all members, which are those of a ViT. */
function memberShapes({ members, ...config }: EnsembleConfig): ReturnType<typeof parameterShapes> {
  const member = [...parameterShapes({ ...config, architecture: 'vit' })]
  const shapes: ReturnType<typeof parameterShapes> = new Map()
  for (let i = 0; i < members; i++) for (const [name, shape] of member) shapes.set(`members.${i}.${name}`, shape)
  return shapes
}
