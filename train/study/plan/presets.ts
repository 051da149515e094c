import { PRESETS } from '../../presets.ts'
import type { Settings } from '../../settings.ts'

/**
 * Returns the settings of a preset as studies take them: each arm names its scheme, and validation images come from the
 * training images.
 */
function ofPreset(name: 'cifar' | 'paper'): Partial<Settings> {
  const { scheme, ...settings } = PRESETS[name]!.settings
  return { ...settings, validation: 0.1 }
}

/**
 * Sizes that studies share:
 * - `tiny`: Fashion-MNIST, minutes a run on two cores;
 * - `small`: Fashion-MNIST in patches of 4 pixels, 20 epochs on a GPU. On GPUs no time was measured: `--dry-run` on one gives the FLOPs and
 *   the expected time;
 * - `cifar`: CIFAR-10 at 32 pixels, 100 epochs, for whoever has the files and a GPU;
 * - `paper`: the authors' setting, CIFAR-10 at 224 pixels, 300 epochs.
 */
export const STUDY_PRESETS = {
  tiny: {
    dataset: 'fashion-mnist',
    validation: 0.1,
    patchSize: 7,
    dim: 64,
    heads: 4,
    dimHead: 16,
    mlpDim: 128,
    branches: 4,
    branchDepth: 1,
    residual: 'preNorm',
    // So few epochs do not overfit.
    dropout: 0,
    batchSize: 128,
    epochs: 2,
    lr: 2e-3,
    warmup: 100,
  },
  small: {
    dataset: 'fashion-mnist',
    validation: 0.1,
    patchSize: 4,
    dim: 128,
    heads: 4,
    dimHead: 32,
    mlpDim: 256,
    branches: 4,
    branchDepth: 2,
    residual: 'preNorm',
    batchSize: 128,
    epochs: 20,
    lr: 1e-3,
    warmup: 500,
    cropPadding: 2,
    flip: true,
  },
  cifar: ofPreset('cifar'),
  paper: ofPreset('paper'),
} as const satisfies Record<string, Partial<Settings>>
