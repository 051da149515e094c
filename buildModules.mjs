// Builds the package for bundlers: a module of its own for each module of the sources, so that a bundler leaves out what a program does not use.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { build, transform } from 'esbuild'
import { parseSync, Visitor } from 'oxc-parser'
import { stripWgsl } from './buildWgsl.mjs'

/** Writes the modules that the entries reach in a browser, each at its own path below `outdir`, with `.js` in place of `.ts`. */
export async function buildModules(entryPoints, outdir) {
  const { metafile } = await build({
    entryPoints,
    outdir,
    bundle: true,
    platform: 'browser',
    packages: 'external',
    format: 'esm',
    loader: { '.wgsl': 'text' },
    metafile: true,
    write: false,
    logLevel: 'warning',
  })
  await Promise.all(
    Object.entries(metafile.inputs).map(async ([path, { imports }]) => {
      const source = await readFile(path, 'utf8')
      const target = join(outdir, nameOf(path))
      const targets = new Map(imports.filter(({ external }) => !external).map(({ original, path }) => [original, path]))
      await mkdir(dirname(target), { recursive: true })
      await writeFile(target, path.endsWith('.wgsl') ? textModule(source) : await module(path, source, targets))
    }),
  )
}

/** The name of a built module. */
function nameOf(path) {
  return path.replace(/\.ts$/, '.js').replace(/\.wgsl$/, '.wgsl.js')
}

function textModule(source) {
  return `export default ${JSON.stringify(stripWgsl(source))}\n`
}

/**
 * Compiles a module. It imports the built modules, and its constants are marked as free of effects, because a bundler keeps calls that
 * it does not know.
 * @param targets the paths that its imports lead to
 */
async function module(path, source, targets) {
  const { code } = await transform(source, { loader: 'ts', target: 'es2022', sourcefile: path })
  const { program } = parseSync(nameOf(path), code)
  const edits = []
  const importOf = (node) => {
    const target = targets.get(node.source?.value)
    if (target === undefined) return
    const relative = posix.relative(posix.dirname(path), nameOf(target))
    edits.push({ ...node.source, text: JSON.stringify(relative.startsWith('.') ? relative : `./${relative}`) })
  }
  new Visitor({
    ImportDeclaration: importOf,
    ExportNamedDeclaration: importOf,
    ExportAllDeclaration: importOf,
    ImportExpression: importOf,
  }).visit(program)
  for (const statement of program.body) {
    const { type, kind, declarations } = statement.declaration ?? statement
    if (type !== 'VariableDeclaration' || kind !== 'const') continue
    for (const { id, init } of declarations) {
      if (id.type !== 'Identifier' || !isComputed(init)) continue
      edits.push({ start: init.start, end: init.start, text: '/* @__PURE__ */ (() => (' })
      edits.push({ start: init.end, end: init.end, text: '))()' })
    }
  }
  edits.sort((one, other) => other.start - one.start)
  return edits.reduce((text, { start, end, text: by }) => text.slice(0, start) + by + text.slice(end), code)
}

/** Whether bundlers may believe that evaluating an expression has effects. */
function isComputed({ type }) {
  return !['Literal', 'ArrowFunctionExpression', 'FunctionExpression', 'Identifier'].includes(type)
}
