/**
 * Ways to learn a new task. All but `scratch` append branches to the model of the tasks before:
 * - `expand`: they learn on the new task alone; stem and old branches are frozen, unless `freeze` is off.
 * - `expandReplay`: the same, on the new task and a share of the old images.
 * - `replay`: everything learns, on the new task and a share of the old images.
 * - `finetune`: everything learns, on the new task alone.
 * - `scratch`: a new model of the same size learns all tasks so far together.
 */
export const EXPANSION_ARMS = ['expand', 'expandReplay', 'replay', 'finetune', 'scratch'] as const
export type ExpansionArm = (typeof EXPANSION_ARMS)[number]
