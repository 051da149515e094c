import { createReadStream } from 'node:fs'
import { open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { ReadableStream as NodeStream } from 'node:stream/web'
import { makeFolder } from '../../engine/platform/files.ts'
import type { RunJob } from '../study/run/job.ts'
import { doJob, type JobHooks, type Outcome } from '../study/run/processes.ts'
import type { RunSite } from './machine.ts'

/** A folder of this machine with the files of a run. */
export class RunFolderFiles {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  async names(): Promise<string[]> {
    const found = await readdir(this.folder, { withFileTypes: true }).catch(() => [])
    return found.filter((entry) => entry.isFile()).map(({ name }) => name)
  }

  async read(name: string): Promise<{ size: number; data: ReadableStream<Uint8Array> } | undefined> {
    const path = join(this.folder, name)
    const size = await stat(path).then(
      (found) => found.size,
      () => undefined,
    )
    return size === undefined ? undefined : { size, data: Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array> }
  }

  /** Writes a file beside its place, and renames it. */
  async write(name: string, data: ReadableStream<Uint8Array>): Promise<number> {
    await makeFolder(this.folder)
    const beside = join(this.folder, `${name}.tmp`)
    try {
      const file = await open(beside, 'w')
      let bytes = 0
      try {
        for await (const chunk of Readable.fromWeb(data as NodeStream)) {
          await file.write(chunk)
          bytes += chunk.length
        }
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(beside, join(this.folder, name))
      return bytes
    } finally {
      await rm(beside, { force: true })
    }
  }
}

/** A run in a folder of this machine, which trains in a process of its own. */
export class FolderSite extends RunFolderFiles implements RunSite {
  readonly #job: Omit<RunJob, 'folder'>

  constructor(folder: string, job: Omit<RunJob, 'folder'>) {
    super(folder)
    this.#job = job
  }

  clear(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true })
  }

  train(hooks: JobHooks): Promise<Outcome> {
    return doJob({ ...this.#job, folder: this.folder }, hooks)
  }
}
