import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A small disk that a test can fill and free. */
export interface SmallDisk {
  path: string
  /** Takes all space but `leave` bytes. */
  fill(leave?: number): void
  free(): void
  remove(): void
}

/** Mounts a disk of some KiB in memory; undefined for a user who may not mount one. */
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
        // Another process took some of the space, so the disk is full.
        if ((error as { code?: string }).code !== 'ENOSPC') throw error
      }
    },
    free: () => rmSync(ballast, { force: true }),
    remove: () => execFileSync('umount', ['-l', path]),
  }
}
