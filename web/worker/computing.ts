// The worker loads this module late: the engine with its kernels, and all that trains and answers.
export { Models } from './models.ts'
export { OwnData } from './ownData.ts'
export { Training } from './training.ts'
