/** Says that a part of the page is missing, where that is why an import failed; any other error is returned as it is. */
export function notLoaded(error: unknown): unknown {
  if (!(error instanceof TypeError)) return error
  return new Error(
    `a part of this page did not load; reload it. Its host must serve every file of the page, scripts as JavaScript (${error.message})`,
  )
}
