/** Writes the modules that the entries reach in a browser, each at its own path below `outdir`, with `.js` in place of `.ts`. */
export function buildModules(entryPoints: string[], outdir: string): Promise<void>
