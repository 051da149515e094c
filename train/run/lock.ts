import { open, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { UserError } from '../../engine/index.ts'
import { fileError, isAlive } from '../../engine/platform/files.ts'

/** Keeps a second process from training in the same folder: a file with the first one's host and process id. */
export class RunLock {
  readonly #path: string

  private constructor(path: string) {
    this.#path = path
  }

  /**
   * Takes the lock; one that a killed process of this machine left is taken over.
   * @throws UserError when another process has it, or the folder cannot be written
   */
  static async take(path: string): Promise<RunLock> {
    for (let tries = 0; tries < 2; tries++) {
      try {
        const file = await open(path, 'wx')
        await file.writeFile(`${hostname()} ${process.pid}`)
        await file.close()
        return new RunLock(path)
      } catch (error) {
        if ((error as { code?: string }).code !== 'EEXIST') throw fileError(path, error)
      }
      const [host, pid] = (await readFile(path, 'utf8').catch(() => '')).split(' ')
      if (host !== hostname() || isAlive(Number(pid))) {
        throw new UserError(
          `${path}: process ${pid} of ${host} trains in this folder; wait for it, or remove the file if it is gone`,
        )
      }
      await rm(path, { force: true })
    }
    throw new UserError(`${path}: another process takes this folder at the same time; choose another --out`)
  }

  async release(): Promise<void> {
    await rm(this.#path, { force: true })
  }
}
