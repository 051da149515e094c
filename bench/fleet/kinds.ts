/** How a step is divided: a ParaFormer by branches, or a ViT of as many layers by slices of the mini-batch. */
export const KINDS = ['branches', 'data'] as const
export type Kind = (typeof KINDS)[number]
export const KIND_NAMES: Readonly<Record<Kind, string>> = { branches: 'ParaFormer, branches', data: 'ViT, data parallel' }
