/** The sources that the package was built from. */
export interface Build {
  version: string
  /** The commit; null outside a repository. */
  commit: string | null
  /** Whether nothing was changed since the commit. */
  clean: boolean | null
  /** Hash of the code that decides the numbers of a run: comments, command line and reports are no part of it. */
  sources: string
}

// The build replaces this constant by an object; see `buildInfo.mjs`.
declare const PARAFORMER_BUILD: Build

export const BUILD: Build = PARAFORMER_BUILD
