/** Returns the size [x, y, z] of the workgroups of WGSL's compute entry point, or undefined where it is no arithmetic of numbers and constants. */
export function workgroupSize(
  code: string,
  entryPoint?: string,
  overrides: Readonly<Record<string, number>> = {},
): [number, number, number] | undefined {
  const text = code.replace(/\/\/.*$/gm, '').replace(/\/\*[\s\S]*?\*\//g, '')
  const name = entryPoint ?? '\\w+'
  const found = new RegExp(`@workgroup_size\\s*\\(([^@{]*?)\\)\\s*(?:@\\w+\\s*)*fn\\s+${name}\\b`).exec(text)
  if (!found) return undefined
  const sizes = found[1]!
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => evaluate(part, text, overrides, 0))
  if (sizes.length === 0 || sizes.some((size) => size === undefined || !(size >= 1))) return undefined
  return [sizes[0]!, sizes[1] ?? 1, sizes[2] ?? 1]
}

/** Evaluates an expression, whose names are constants of the file. */
function evaluate(
  expression: string,
  text: string,
  overrides: Readonly<Record<string, number>>,
  depth: number,
): number | undefined {
  if (depth > 8) return undefined
  const tokens = expression.match(/[a-zA-Z_]\w*|\d+|[-+*/()%]/g) ?? []
  let at = 0
  const factor = (): number | undefined => {
    const token = tokens[at++]
    if (token === undefined) return undefined
    if (token === '(') {
      const value = sum()
      at++
      return value
    }
    if (/^\d/.test(token)) {
      if (/^[ui]$/.test(tokens[at] ?? '')) at++
      return Number(token)
    }
    if (token in overrides) return overrides[token]
    const declared = new RegExp(`\\b(?:const|override)\\s+${token}\\s*(?::\\s*\\w+)?\\s*=\\s*([^;]*);`).exec(text)
    return declared ? evaluate(declared[1]!, text, overrides, depth + 1) : undefined
  }
  const binary = (next: () => number | undefined, operators: Record<string, (a: number, b: number) => number>) => {
    let value = next()
    while (value !== undefined && (tokens[at] ?? '') in operators) {
      const operator = operators[tokens[at++]!]!
      const other = next()
      value = other === undefined ? undefined : operator(value, other)
    }
    return value
  }
  const product = () => binary(factor, { '*': (a, b) => a * b, '/': (a, b) => Math.floor(a / b), '%': (a, b) => a % b })
  const sum = (): number | undefined => binary(product, { '+': (a, b) => a + b, '-': (a, b) => a - b })
  return sum()
}
