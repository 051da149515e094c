import type { Constants } from './spec.ts'

/**
 * Replaces the right-hand side of named declarations (`const TILE: u32 = 64;`, `alias Scalar = f32;`), and enables f16 where an
 * alias becomes one. The text stays legal WGSL before and after.
 * @throws Error for a name the source does not declare at the start of a line
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
  // First in the text, where directives must be; a file that needs f16 whatever the constants has it already.
  return half && !/^enable [^;]*\bf16\b/m.test(source) ? `enable f16;\n${text}` : text
}

function literal(value: number | boolean | string, type: string | undefined): string {
  if (typeof value !== 'number') return String(value)
  if (type === 'u32') return `${value}u`
  if (type === 'f32') return Number.isInteger(value) ? `${value}.0` : String(value)
  return String(value)
}
