import { hashParts } from '../../train/study/plan/hashParts.ts'

/** Returns the hash that `train/study/plan/hash.ts` returns, by what a browser has. */
export async function hashOf(...values: readonly unknown[]): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', await new Blob(hashParts(values)).arrayBuffer())
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0'))
    .join('')
    .slice(0, 20)
}
