import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A disk of its own that can be filled and freed. */
export interface SmallDisk {
  path: string
  /** Takes all space but so many bytes. */
  fill(leave?: number): void
  free(): void
  remove(): void
}

/** Mounts a disk of so many KiB in memory, or gives undefined where this user may not. */
export function smallDisk(path: string, kib: number): SmallDisk | undefined {
  mkdirSync(path)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'paraformer-test', path], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  const ballast = join(path, 'ballast')
  return {
    path,
    fill(leave = 0) {
      const { bsize, bavail } = statfsSync(path)
      try {
        writeFileSync(ballast, Buffer.alloc(Math.max(0, bsize * bavail - leave)))
      } catch (error) {
        // Somebody else took some of it: full it is.
        if ((error as { code?: string }).code !== 'ENOSPC') throw error
      }
    },
    free: () => rmSync(ballast, { force: true }),
    remove: () => execFileSync('umount', ['-l', path]),
  }
}
