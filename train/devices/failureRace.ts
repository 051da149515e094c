/** Ends all pending work with the first failure of one of several parties. */
export class FailureRace {
  readonly #rejects = new Set<(error: unknown) => void>()
  #failure: { error: unknown } | undefined

  /** @param failures promises that reject when a party fails, and never settle otherwise */
  constructor(failures: readonly Promise<never>[]) {
    for (const failure of failures) {
      failure.catch((error: unknown) => {
        this.#failure ??= { error }
        for (const reject of this.#rejects) reject(this.#failure.error)
      })
    }
  }

  /** Settles as `work` does, or rejects with an earlier failure. (Promise.race would keep a reaction for every call.) */
  race<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const settled = () => this.#rejects.delete(reject)
      work.then(resolve, reject).finally(settled)
      if (this.#failure) reject(this.#failure.error)
      else this.#rejects.add(reject)
    })
  }
}
