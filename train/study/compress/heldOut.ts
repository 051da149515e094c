import { dirname, join } from 'node:path'
import { accepted, amount, count, fields } from '../../../engine/base/json.ts'
import { files } from '../../../engine/index.ts'
import { openSafetensors } from '../../checkpoint/files.ts'

/** The part of the training images that a run held out. */
export interface HeldOut {
  /** Its share of the training images, from 0. */
  validation: number
  /** Seed of the split. */
  seed: number
}

/** Bytes of the largest `settings.json`. */
const MAX_BYTES = 1 << 24

/** The settings of a run as far as they say what it held out. */
const RUN = fields({ settings: fields({ validation: amount, seed: count }) })

/**
 * Finds out which training images the run of a checkpoint held out: from its training state, or from `settings.json` beside it.
 * @returns undefined when neither says it
 */
export async function heldOutOf(path: string): Promise<HeldOut | undefined> {
  const file = await openSafetensors(path)
  const { training } = file.metadata
  await file.close()
  const beside = () =>
    files.read(join(dirname(path), 'settings.json'), MAX_BYTES).then(
      (bytes) => new TextDecoder().decode(bytes),
      () => undefined,
    )
  for (const text of [training, await beside()]) {
    const found = text === undefined ? undefined : accepted(RUN, parsed(text))
    if (found) return found.settings
  }
  return undefined
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
