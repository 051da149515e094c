import type { Settings } from '../train/settings.ts'
import type { Refused } from './protocol.ts'
import type { Action } from './trouble.ts'
import { counted } from './words.ts'

/** A message with the way out of it. */
export interface Offer {
  message: string
  action: Action | undefined
}

/**
 * Offers a run with other settings in place of one that was refused: half the mini-batch where memory is short, or without broken files.
 * @param asked the settings of the run that was refused, where they are known
 * @param again begins a run anew
 */
export function offerFor(
  { refused, message }: Refused,
  asked: Partial<Settings> | undefined,
  again: (settings: Partial<Settings>) => void,
): Offer {
  if (refused === 'brokenImage') {
    const label = 'Go on without files that cannot be decoded'
    return { message, action: asked && { label, run: () => again({ ...asked, skipBroken: true }) } }
  }
  const batchSize = Math.floor((asked?.batchSize ?? 0) / 2)
  const label = `Begin anew with ${counted(batchSize, 'image')} a mini-batch`
  const action = batchSize >= 1 ? { label, run: () => again({ ...asked, batchSize }) } : undefined
  return { message: `Out of memory: ${message}`, action }
}
