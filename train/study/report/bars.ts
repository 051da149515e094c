import type { DatasetName } from '../../data/names.ts'

/** An accuracy from scratch that others published. */
export interface Bar {
  label: string
  source: string
  /** Test accuracy, 0 to 1. */
  accuracy: number
}

const CCT = 'README of Compact-Transformers'
const S_CHH = 'README of s-chh/PyTorch-Scratch-Vision-Transformer-ViT'
const KENTAROY47 = 'README of kentaroy47/vision-transformers-cifar10'

/** Accuracies without pretraining, as their authors give them; nothing here was measured by this project. */
const BARS: Record<DatasetName, readonly Bar[]> = {
  'cifar-10': [
    { label: 'CCT-7/3x1, 3.76 M, 200 epochs', source: CCT, accuracy: 0.9478 },
    { label: 'CVT-7/4, 3.72 M, 200 epochs', source: CCT, accuracy: 0.9243 },
    { label: 'ViT-Lite-7/4, 3.72 M, 200 epochs', source: CCT, accuracy: 0.9138 },
    { label: 'CCT-2/3x2, 0.284 M, 200 epochs', source: CCT, accuracy: 0.8917 },
    { label: 'ViT patch 4, 500 epochs', source: KENTAROY47, accuracy: 0.88 },
    { label: 'ViT, 6 layers, 0.8 M, RandAugment', source: S_CHH, accuracy: 0.863 },
    { label: 'ViT, 6 layers, 0.8 M', source: S_CHH, accuracy: 0.821 },
    { label: 'ViT patch 4, 200 epochs', source: KENTAROY47, accuracy: 0.8 },
  ],
  'cifar-100': [
    { label: 'CCT-7/3x1, 3.76 M, 200 epochs', source: CCT, accuracy: 0.7705 },
    { label: 'CVT-7/4, 3.72 M, 200 epochs', source: CCT, accuracy: 0.7301 },
    { label: 'ViT-Lite-7/4, 3.72 M, 200 epochs', source: CCT, accuracy: 0.6975 },
    { label: 'CCT-2/3x2, 0.284 M, 200 epochs', source: CCT, accuracy: 0.669 },
  ],
  mnist: [{ label: 'ViT, 6 layers, 0.21 M', source: S_CHH, accuracy: 0.995 }],
  'fashion-mnist': [
    { label: 'two-layer convolutional nets, up to', source: 'README of Fashion-MNIST, user-submitted', accuracy: 0.925 },
    { label: 'ViT, 6 layers, 0.21 M', source: S_CHH, accuracy: 0.923 },
  ],
}

/** Returns the published accuracies on a data set. */
export function barsOf(dataset: string): readonly Bar[] {
  return Object.hasOwn(BARS, dataset) ? BARS[dataset as DatasetName] : []
}
