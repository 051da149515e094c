/**
 * Ways to learn a new task. All but `scratch` append branches to the model of the tasks before:
 * - `expand`: they learn on the new task alone; `freeze` says what keeps its values.
 * - `expandReplay`: the same, on the new task and a share of the old images.
 * - `replay`: everything learns, on the new task and a share of the old images.
 * - `finetune`: everything learns, on the new task alone.
 * - `scratch`: a new model of the same size learns all tasks so far together.
 */
export const EXPANSION_ARMS = ['expand', 'expandReplay', 'replay', 'finetune', 'scratch'] as const
export type ExpansionArm = (typeof EXPANSION_ARMS)[number]

/**
 * Parameters that keep their values while a new task is learned: `none`; `branches`, the stem and the old branches; `head`, these and what
 * the head knows of the old classes, its normalisation and their rows of the classifier. With `head`, the prefix of the old branches has
 * the same logits for the old classes as before, to the bit.
 */
export const FREEZES = ['none', 'branches', 'head'] as const
export type Freeze = (typeof FREEZES)[number]

/**
 * Classes among which the loss of a new image has its label compete: `all`, or `task`, the new classes alone, so that the images of a new
 * task do not push the logits of old classes down ("labels trick", arXiv 1803.10123). Nothing compares the logits of old and new classes
 * then: old images keep their classes, and new ones are told apart where their task is known.
 */
export const SOFTMAXES = ['all', 'task'] as const
export type Softmax = (typeof SOFTMAXES)[number]
