import type { Constants } from './spec.ts'

/**
 * Replaces the right-hand sides of named declarations such as `const TILE: u32 = 64;` and `alias Scalar = f32;`, and enables f16 where an
 * alias becomes it. The text is legal WGSL before and after.
 * @throws Error for a name that the source does not declare at the start of a line
 */
export function specialize(source: string, constants: Constants): string {
  let text = source
  for (const [name, value] of Object.entries(constants)) {
    const declaration = new RegExp(`^((?:const ${name}\\s*(?::\\s*(\\w+))?|alias ${name})\\s*=\\s*)[^;]*;`, 'm')
    const match = declaration.exec(text)
    if (!match) throw new Error(`the WGSL source declares no const or alias ${name}`)
    const after = text.slice(match.index + match[0].length)
    text = `${text.slice(0, match.index)}${match[1]}${literal(value, match[2])};${after}`
  }
  const half = Object.values(constants).some((value) => typeof value === 'string' && /\bf16\b/.test(value))
  // Directives come first in the text. A file that always needs f16 enables it itself.
  return half && !/^enable [^;]*\bf16\b/m.test(source) ? `enable f16;\n${text}` : text
}

function literal(value: number | boolean | string, type: string | undefined): string {
  if (typeof value !== 'number') return String(value)
  if (type === 'u32') return `${value}u`
  if (type === 'f32') return Number.isInteger(value) ? `${value}.0` : String(value)
  return String(value)
}
