import type { Settings } from '../train/settings.ts'

/** A setting that the page offers. */
export type Field = {
  name: keyof Settings
  label: string
  /** Explains it in a sentence. */
  hint?: string
  /** Whether it is shown at once; the others are folded away. */
  first?: true
} & (
  | { choices: readonly (readonly [value: string, label: string])[]; value: string }
  | { min: number; max: number; step: number | 'any'; value: number | undefined }
)

const numbered = (...values: number[]) => values.map((value) => [String(value), String(value)] as const)

/** Pixels of a side of the images of MNIST. */
export const MNIST_SIDE = 28
/** Pixels of a patch that are offered where the size of the images is not known. */
const PATCHES = [4, 7, 8, 14, 16]
const PATCH = 7

/** The settings that the page offers, with limits that any device takes. */
export const FIELDS: readonly Field[] = [
  {
    name: 'branches',
    label: 'Branches',
    hint: 'Small Transformers that look at the same image side by side. Their outputs are added up.',
    first: true,
    ...{ min: 1, max: 8, step: 1, value: 4 },
  },
  {
    name: 'scheme',
    label: 'Training scheme',
    hint: 'What each step of training makes smaller. A prefix is the first few branches alone, which is a model too.',
    first: true,
    choices: [
      ['prefixSum', 'all prefixes at once (prefixSum)'],
      ['paper', 'one prefix after the other (paper)'],
      ['randomPrefix', 'a random prefix (randomPrefix)'],
      ['joint', 'all branches together alone (joint)'],
      ['greedy', 'one branch after the other (greedy)'],
    ],
    value: 'prefixSum',
  },
  {
    name: 'epochs',
    label: 'Epochs',
    hint: 'How often training sees all images.',
    first: true,
    ...{ min: 1, max: 200, step: 1, value: 3 },
  },
  {
    name: 'architecture',
    label: 'Model',
    hint: 'A Vision Transformer has its layers one on top of the other.',
    choices: [
      ['paraformer', 'ParaFormer'],
      ['vit', 'Vision Transformer'],
    ],
    value: 'paraformer',
  },
  { name: 'branchDepth', label: 'Layers of a branch', min: 1, max: 4, step: 1, value: 1 },
  { name: 'dim', label: 'Width', hint: 'Numbers that stand for each patch.', choices: numbered(16, 32, 64, 128), value: '64' },
  {
    name: 'patchSize',
    label: 'Pixels of a patch',
    hint: 'A side of the squares that an image is cut into.',
    choices: numbered(...PATCHES),
    value: String(PATCH),
  },
  {
    name: 'imageSize',
    label: 'Pixels of a side',
    hint: 'Data of your own is scaled to it.',
    min: 4,
    max: 256,
    step: 1,
    value: undefined,
  },
  { name: 'batchSize', label: 'Images of a mini-batch', min: 1, max: 512, step: 1, value: 64 },
  { name: 'lr', label: 'Learning rate', min: 1e-6, max: 1, step: 'any', value: 3e-3 },
  { name: 'seed', label: 'Seed', hint: 'The same seed gives the same run.', min: 0, max: 1e9, step: 1, value: 0 },
]

/** Returns the sizes of patches that images can be cut into. @param side pixels of a side; undefined where it is not known */
export function patchSizes(side: number | undefined): number[] {
  if (side === undefined) return PATCHES
  const found: number[] = []
  for (let size = Math.max(3, Math.ceil(side / 16)); size <= side / 2; size++) if (side % size === 0) found.push(size)
  return found.length > 0 ? found : [side]
}

/** Returns the size of patches that is nearest to the usual one. */
export function nearestPatch(sizes: readonly number[]): number {
  return sizes.reduce((best, size) => (Math.abs(size - PATCH) < Math.abs(best - PATCH) ? size : best))
}
