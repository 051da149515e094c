import { OutOfMemoryError } from '../../engine/index.ts'
import { BrokenImageError } from '../../train/data/own/images.ts'
import type { Refused, RunInfo } from '../protocol.ts'

/** Opens a run. @returns why it did not open where the page can do something about it; any other error is thrown */
export async function orRefused(open: () => Promise<RunInfo>): Promise<RunInfo | Refused> {
  try {
    return await open()
  } catch (error) {
    if (error instanceof BrokenImageError) return { refused: 'brokenImage', message: error.message }
    if (error instanceof OutOfMemoryError) return { refused: 'outOfMemory', message: error.message }
    throw error
  }
}
