export { MAX_BATCH } from '../train/settings.ts'

/** Largest number of milliseconds to time one target: an hour, which JavaScript's timers can hold. */
export const MOST_TIME = 3_600_000

/** Largest number of elements of an operand or result that a `--shape` may have: 1 GiB of float32. */
export const MOST_NUMBERS = 2 ** 28
