/** Lets everything that waits end with the first failure of one of the parties, which may have been waited for by nobody. */
export class Waiting {
  readonly #rejects = new Set<(error: unknown) => void>()
  #failure: { error: unknown } | undefined

  /** @param failures promises that reject when a party is gone, and never else */
  constructor(failures: readonly Promise<never>[]) {
    for (const failure of failures) {
      failure.catch((error: unknown) => {
        this.#failure ??= { error }
        for (const reject of this.#rejects) reject(this.#failure.error)
      })
    }
  }

  /** The same result, unless a party fails before. (Promise.race would keep a reaction for every call.) */
  for<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const settled = () => this.#rejects.delete(reject)
      work.then(resolve, reject).finally(settled)
      if (this.#failure) reject(this.#failure.error)
      else this.#rejects.add(reject)
    })
  }
}
