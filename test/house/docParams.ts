import { visitorKeys } from 'oxc-parser'
import { parse } from './sources.ts'

/** A node of a syntax tree. */
interface Node {
  type: string
  start: number
  end: number
  [key: string]: unknown
}

/** A parameter of a function. */
interface Parameter {
  /** Undefined for a destructured parameter. */
  name: string | undefined
  /** Names of the properties of its type; undefined where they cannot be read from the sources. */
  properties: ReadonlySet<string> | undefined
}

const child = (node: unknown, key: string): Node | undefined => {
  const found = (node as Node | undefined)?.[key]
  return found !== null && typeof found === 'object' && !Array.isArray(found) ? (found as Node) : undefined
}
const children = (node: unknown, key: string): Node[] => {
  const found = (node as Node | undefined)?.[key]
  return Array.isArray(found) ? found.filter((entry) => entry !== null) : []
}
const nameOf = (node: Node | undefined): string => String(node?.name ?? node?.value ?? '')

function* nodesOf(node: Node): Generator<Node> {
  yield node
  for (const key of visitorKeys[node.type] ?? []) {
    const inner = child(node, key)
    if (inner) yield* nodesOf(inner)
    for (const each of children(node, key)) yield* nodesOf(each)
  }
}

/** The interfaces and object types that modules declare, by name. */
export type Types = ReadonlyMap<string, Node>

/** Collects the types of modules. @param texts the modules' sources by path */
export function typesOf(texts: ReadonlyMap<string, string>): Types {
  const types = new Map<string, Node>()
  for (const [file, text] of texts) {
    for (const node of nodesOf(parse(file, text).program as unknown as Node)) {
      if (node.type === 'TSInterfaceDeclaration') types.set(nameOf(child(node, 'id')), node)
      if (node.type === 'TSTypeAliasDeclaration') types.set(nameOf(child(node, 'id')), child(node, 'typeAnnotation')!)
    }
  }
  return types
}

/**
 * The errors in the `@param` tags of a module. A tag must name a parameter of the function below it, or a property of a parameter
 * (`options.bias`), and no two tags may name the same. A destructured parameter may have any name before the dot.
 */
export function wrongParams(file: string, text: string, types: Types): string[] {
  const { program, comments } = parse(file, text)
  const nodes = [...nodesOf(program as unknown as Node)]
  return comments.flatMap(({ type, value, start, end }) => {
    const names = [...value.matchAll(/@param\s+(?:\{[^}]*\}\s+)?\[?([^\s\]]*)/g)].map(([, name]) => name!)
    if (type !== 'Block' || names.length === 0) return []
    const at = `${file}:${text.slice(0, start).split('\n').length}`
    const below = end + /^\s*/.exec(text.slice(end))![0].length
    const documented = nodes.find((node) => node.start === below && node.type !== 'Program')
    const callable = callableOf(documented) ?? callableOf(madeBy(documented, nodes))
    if (!callable) return [`${at}: @param ${names[0]}, but no function stands below`]
    const parameters = children(callable, 'params').map((parameter) => parameterOf(parameter, types))
    return names.flatMap((name, i) => {
      if (names.indexOf(name) !== i) return [`${at}: @param ${name} twice`]
      return isParameter(name, parameters) ? [] : [`${at}: @param ${name} names no parameter`]
    })
  })
}

function isParameter(name: string, parameters: readonly Parameter[]): boolean {
  const [own = '', property, ...rest] = name.split('.')
  if (property === undefined) return parameters.some((parameter) => parameter.name === own)
  if (rest.length > 0) return false
  const named = parameters.find((parameter) => parameter.name === own)
  const candidates = named ? [named] : parameters.filter((parameter) => parameter.name === undefined)
  return candidates.some(({ properties }) => properties?.has(property) ?? false)
}

/** The node with the parameters of a declared function, method or function type. */
function callableOf(node: Node | undefined): Node | undefined {
  switch (node?.type) {
    case 'ExportNamedDeclaration':
    case 'ExportDefaultDeclaration':
      return callableOf(child(node, 'declaration'))
    case 'VariableDeclaration':
      return callableOf(children(node, 'declarations')[0])
    case 'VariableDeclarator':
      return callableOf(child(node, 'init')) ?? callableOf(child(child(node, 'id'), 'typeAnnotation'))
    case 'MethodDefinition':
    case 'TSAbstractMethodDefinition':
    case 'Property':
      return callableOf(child(node, 'value'))
    case 'PropertyDefinition':
      return callableOf(child(node, 'value')) ?? callableOf(child(node, 'typeAnnotation'))
    case 'TSPropertySignature':
    case 'TSTypeAliasDeclaration':
    case 'TSTypeAnnotation':
    case 'TSParenthesizedType':
      return callableOf(child(node, 'typeAnnotation'))
    default:
      return node && Array.isArray(node.params) && node.type !== 'TSTypeParameterInstantiation' ? node : undefined
  }
}

/** The function that a call in a declaration returns, such as in `const sum = defineSum('sum')`. */
function madeBy(declaration: Node | undefined, nodes: readonly Node[]): Node | undefined {
  const statement = declaration?.type === 'ExportNamedDeclaration' ? child(declaration, 'declaration') : declaration
  const init = child(children(statement, 'declarations')[0], 'init')
  const called = nameOf(child(init, 'callee'))
  const maker = nodes.find((node) => node.type === 'FunctionDeclaration' && nameOf(child(node, 'id')) === called)
  const last = children(child(maker, 'body'), 'body').at(-1)
  return last?.type === 'ReturnStatement' ? child(last, 'argument') : undefined
}

function parameterOf(node: Node, types: Types): Parameter {
  if (node.type === 'TSParameterProperty') return parameterOf(child(node, 'parameter')!, types)
  if (node.type === 'AssignmentPattern') return parameterOf(child(node, 'left')!, types)
  if (node.type === 'RestElement') return { name: nameOf(child(node, 'argument')), properties: undefined }
  const properties = propertiesOf(child(child(node, 'typeAnnotation'), 'typeAnnotation'), types)
  if (node.type !== 'ObjectPattern') return { name: node.type === 'Identifier' ? nameOf(node) : undefined, properties }
  const own = children(node, 'properties').map((property) => nameOf(child(property, 'key')))
  return { name: undefined, properties: new Set([...own, ...(properties ?? [])]) }
}

/** Names of the properties of a type; undefined where they cannot be read. */
function propertiesOf(type: Node | undefined, types: Types): Set<string> | undefined {
  switch (type?.type) {
    case 'TSTypeLiteral':
      return new Set(children(type, 'members').map((member) => nameOf(child(member, 'key'))))
    case 'TSIntersectionType':
    case 'TSUnionType':
      return new Set(children(type, 'types').flatMap((member) => [...(propertiesOf(member, types) ?? [])]))
    case 'TSInterfaceDeclaration': {
      const own = children(child(type, 'body'), 'body').map((member) => nameOf(child(member, 'key')))
      const bases = children(type, 'extends').flatMap((base) => {
        return [...(propertiesOf(types.get(nameOf(child(base, 'expression'))), types) ?? [])]
      })
      return new Set([...own, ...bases])
    }
    case 'TSTypeReference': {
      const name = nameOf(child(type, 'typeName'))
      const [argument] = children(child(type, 'typeArguments'), 'params')
      // All properties count for `Pick` and `Omit`, since the compiler checks which are left.
      if (['Readonly', 'Partial', 'Required', 'Pick', 'Omit'].includes(name)) return propertiesOf(argument, types)
      return propertiesOf(types.get(name), types)
    }
    default:
      return undefined
  }
}
