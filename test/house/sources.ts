import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { type ParseResult, parseSync, Visitor } from 'oxc-parser'

/** The top-level folders that hold modules, in the order of their imports. */
export const FOLDERS = ['kernels', 'engine', 'model', 'train', 'bench', 'web', 'examples', 'test']

/** Paths of the project's modules from its root. */
export const modules: readonly string[] = FOLDERS.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /(?<!\.d)\.tsx?$|\.m?js$/.test(name) && !/(^|\/)(node_modules|\.build)\//.test(name))
    .map((name) => join(folder, name)),
).sort()

/** Parses a module. @throws Error for a syntax error, since the tree would lack the rest of the file */
export function parse(file: string, text: string): ParseResult {
  const result = parseSync(file, text)
  const [error] = result.errors
  if (error) throw new Error(`${file}: ${error.message}`)
  return result
}

/** Paths of the project's files that a module imports, re-exports or loads by `import()`, including imports of types. */
export function importsIn(file: string, text: string): string[] {
  return importedNames(file, text).flatMap((name) => resolve(file, name))
}

/** Lists the names of the modules that a module imports, re-exports or loads by `import()`. */
export function importedNames(file: string, text: string): string[] {
  const { program } = parse(file, text)
  const found: string[] = []
  const add = ({ source }: { source: unknown }): void => {
    const { value } = (source ?? {}) as { value?: unknown }
    if (typeof value === 'string') found.push(value)
  }
  new Visitor({
    ImportDeclaration: add,
    ExportNamedDeclaration: add,
    ExportAllDeclaration: add,
    ImportExpression: add,
    TSImportType: add,
  }).visit(program)
  return found
}

/** Aliases of imports, such as `#platform`, with a file for each kind of host. */
const aliases = (JSON.parse(readFileSync('package.json', 'utf8')) as { imports: Record<string, Record<string, string>> })
  .imports

function resolve(file: string, name: string): string[] {
  if (Object.hasOwn(aliases, name)) return Object.values(aliases[name]!).map(normalize)
  if (!name.startsWith('.')) return []
  const path = normalize(join(dirname(file), name))
  return FOLDERS.includes(path.split('/')[0]!) ? [path] : []
}

/** The imports of each module, by its path. */
export const imports: ReadonlyMap<string, readonly string[]> = new Map(
  modules.map((file) => [file, importsIn(file, readFileSync(file, 'utf8'))]),
)
