// The text of an einsum, and the labels that it gives to dims.
import { refusal } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { format, type Shape } from '../layout/shape.ts'

/** The label of each dim: a letter, or `.1` for the last dim of an ellipsis, `.2` for the one before it, and so on. */
export type Labels = readonly string[]

export interface Equation {
  operands: Labels[]
  output: Labels
  /** The size of each label. */
  sizes: Map<string, number>
}

const TAKES = "an equation such as 'bhtd,bhsd->bhts'"

/** Splits a term into letters and at most one `...`. @throws ShapeError for other characters */
function lettersOf(equation: string, term: string): string[] {
  const found = term.match(/\.\.\.|[A-Za-z]/g) ?? []
  if (found.join('') !== term || found.filter((part) => part === '...').length > 1) {
    throw new ShapeError(
      `einsum: got ${JSON.stringify(term)} in ${JSON.stringify(equation)}, takes letters and at most one ellipsis`,
    )
  }
  return found
}

/** The labels of an ellipsis of `count` dims. */
function ellipsis(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `.${count - i}`)
}

/** The labels of an operand. @throws ShapeError when the term does not have as many labels as the operand has dims */
function labelsOf(letters: readonly string[], shape: Shape, place: number): string[] {
  const open = letters.includes('...')
  const rest = shape.length - letters.length + (open ? 1 : 0)
  if (open ? rest < 0 : rest !== 0) {
    throw new ShapeError(`einsum: term ${JSON.stringify(letters.join(''))} does not fit operand ${place} ${format(shape)}`)
  }
  return letters.flatMap((letter) => (letter === '...' ? ellipsis(rest) : [letter]))
}

/** The labels of a result that the equation does not name: dims of an ellipsis, then the letters that occur once, sorted. */
function implied(operands: readonly Labels[]): string[] {
  const all = operands.flat()
  const dots = Math.max(0, ...all.map((label) => (label.startsWith('.') ? Number(label.slice(1)) : 0)))
  const once = all.filter((label) => !label.startsWith('.') && all.indexOf(label) === all.lastIndexOf(label))
  return [...ellipsis(dots), ...once.sort()]
}

/**
 * Reads an equation for operands of these shapes. Labels of size 1 broadcast.
 * @throws ArgumentError for another value than a text; ShapeError for a text that is no equation, or that the shapes do not fit
 */
export function parseEquation(equation: string, shapes: readonly Shape[]): Equation {
  if (typeof equation !== 'string') throw refusal('einsum', equation, TAKES, 'the equation')
  const [left, right, ...more] = equation.replaceAll(' ', '').split('->')
  if (more.length > 0) throw new ShapeError(`einsum: got two arrows in ${JSON.stringify(equation)}, takes ${TAKES}`)
  const terms = left!.split(',')
  if (terms.length !== shapes.length) {
    throw new ShapeError(`einsum: ${JSON.stringify(equation)} has ${terms.length} terms for ${shapes.length} tensors`)
  }
  const operands = terms.map((term, i) => labelsOf(lettersOf(equation, term), shapes[i]!, i))
  const sizes = new Map<string, number>()
  for (const [i, labels] of operands.entries()) {
    for (const [d, label] of labels.entries()) {
      const [size, known] = [shapes[i]![d]!, sizes.get(label) ?? 1]
      if (size !== known && size !== 1 && known !== 1) {
        const name = label.startsWith('.') ? 'a dim of the ellipsis' : `label ${label}`
        throw new ShapeError(`einsum: ${name} is ${known} and, in operand ${i} ${format(shapes[i]!)}, ${size}`)
      }
      sizes.set(label, Math.max(size, known))
    }
  }
  const dots = [...sizes.keys()].filter((label) => label.startsWith('.')).length
  const output =
    right === undefined
      ? implied(operands)
      : lettersOf(equation, right).flatMap((letter) => (letter === '...' ? ellipsis(dots) : [letter]))
  const odd = output.find((label, i) => !sizes.has(label) || output.indexOf(label) < i)
  if (odd !== undefined) {
    const what = sizes.has(odd) ? 'twice in the result' : 'in the result alone'
    throw new ShapeError(`einsum: label ${odd} is ${what} of ${JSON.stringify(equation)}`)
  }
  return { operands, output, sizes }
}
