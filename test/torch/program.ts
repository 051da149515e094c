import { type Tensor, tensor } from '../../engine/index.ts'

/** One op of a program: the values that it takes, by their numbers, and its other arguments. */
export interface Step {
  op: string
  inputs: number[]
  args: Record<string, any>
}

/** A value that a program begins with. */
export interface Leaf {
  dtype: 'float32' | 'int32'
  shape: number[]
  data: number[]
}

/** A program as JSON, which `programs.py` runs too. Its values are its leaves, then the results of its steps. */
export interface Program {
  leaves: Leaf[]
  steps: Step[]
  /** Values of which the loss is made, with what they are multiplied by. */
  cotangents: [value: number, weights: number[]][]
}

/** Makes the tensors of a program's leaves; those of float32 require gradients. */
export function leavesOf({ leaves }: Program): Tensor[] {
  return leaves.map(({ dtype, shape, data }) => {
    return dtype === 'int32' ? tensor(Int32Array.from(data), { shape }) : tensor(data, { shape, requiresGrad: true })
  })
}
