// The WGSL of the builds that are shipped: shaders without comments, indentation and blank lines.
import { readFile } from 'node:fs/promises'

/** Removes comments, also nested ones, the indentation and blank lines. The text means the same, and `specialize()` still finds its names. */
export function stripWgsl(source) {
  let text = ''
  let depth = 0
  for (let at = 0; at < source.length; ) {
    const two = source.slice(at, at + 2)
    if (two === '/*') depth++
    else if (two === '*/' && depth > 0) depth--
    else if (depth > 0) {
      at++
      continue
    } else if (two === '//') {
      const end = source.indexOf('\n', at)
      at = end < 0 ? source.length : end
      continue
    } else {
      text += source[at++]
      continue
    }
    // A comment separates what stands on its two sides.
    if (depth === 0) text += ' '
    at += 2
  }
  const lines = text.split('\n').map((line) => line.trim())
  return lines.filter((line) => line !== '').join('\n')
}

/** A plugin for esbuild that imports `.wgsl` files as stripped text. */
export const strippedWgsl = {
  name: 'stripped WGSL',
  setup(build) {
    build.onLoad({ filter: /\.wgsl$/ }, async ({ path }) => ({
      contents: stripWgsl(await readFile(path, 'utf8')),
      loader: 'text',
    }))
  },
}
