export { MOST_BATCH } from '../train/settings.ts'

/** Milliseconds to time one thing: an hour, which timers still hold. */
export const MOST_TIME = 3_600_000

/** Numbers of one operand or result that a `--shape` may have: 1 GiB of float32. */
export const MOST_NUMBERS = 2 ** 28
