import { forEachElement, type NestProblem } from '../layout.ts'
import type { Arrays } from '../spec.ts'
import type { AddFour } from './addFour.ts'
import type { Binary } from './binary.ts'
import { type Chain, chainSteps } from './chain.ts'
import type { PowBackward } from './pow.ts'
import type { WithScalar } from './scalar.ts'
import type { Unary, UnaryBackward, UnaryOp } from './unary.ts'

/** erfc in float64: a series of positive terms near 0, the continued fraction beyond. */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x)
  if (x < 3) {
    let term = x
    let sum = x
    for (let n = 1; term > sum * 1e-18; n++) {
      term *= (2 * x * x) / (2 * n + 1)
      sum += term
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
  }
  let fraction = x
  for (let n = 60; n > 0; n--) fraction = x + n / 2 / fraction
  return Math.exp(-x * x) / (fraction * Math.sqrt(Math.PI))
}

/** The normal distribution function in float64. */
function normalCdf(x: number): number {
  return 0.5 * erfc(-x / Math.SQRT2)
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x))
}

/** The functions of `unary` and their derivatives, both of x. */
export const unaryFunctions: Record<UnaryOp, { f(x: number): number; derivative(x: number): number }> = {
  neg: { f: (x) => -x, derivative: () => -1 },
  exp: { f: Math.exp, derivative: Math.exp },
  log: { f: Math.log, derivative: (x) => 1 / x },
  sqrt: { f: Math.sqrt, derivative: (x) => 0.5 / Math.sqrt(x) },
  tanh: { f: Math.tanh, derivative: (x) => 1 - Math.tanh(x) ** 2 },
  relu: { f: (x) => Math.max(x, 0), derivative: (x) => (x > 0 ? 1 : 0) },
  gelu: {
    f: (x) => x * normalCdf(x),
    derivative: (x) => normalCdf(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  },
  sigmoid: { f: sigmoid, derivative: (x) => sigmoid(x) * (1 - sigmoid(x)) },
}

export function unaryReference({ op }: Unary, { x }: Arrays): Arrays {
  return { y: x!.map(unaryFunctions[op].f) }
}

/** The derivatives as functions of what was saved: of x itself, or of y = f(x). */
const savedDerivatives: Record<UnaryBackward['op'], (saved: number) => number> = {
  exp: (y) => y,
  log: (x) => 1 / x,
  sqrt: (y) => 0.5 / y,
  tanh: (y) => 1 - y * y,
  // NaN passes the gradient on, as in PyTorch.
  relu: (y) => (y <= 0 ? 0 : 1),
  gelu: unaryFunctions.gelu.derivative,
  sigmoid: (y) => y * (1 - y),
}

export function unaryBackwardReference({ op }: UnaryBackward, { grad, saved }: Arrays): Arrays {
  const derivative = savedDerivatives[op]
  // Where relu gave 0 the result is 0, even if the incoming gradient is infinite.
  const isCut = (i: number) => op === 'relu' && saved![i]! <= 0
  return { out: grad!.map((g, i) => (isCut(i) ? 0 : g * derivative(saved![i]!))) }
}

const operations = {
  add: (a: number, b: number) => a + b,
  sub: (a: number, b: number) => a - b,
  mul: (a: number, b: number) => a * b,
  div: (a: number, b: number) => a / b,
}

const integerOperations = {
  add: (a: number, b: number) => (a + b) | 0,
  sub: (a: number, b: number) => (a - b) | 0,
  mul: Math.imul,
  div: (a: number, b: number) => Math.trunc(a / b),
}

function binaryWith(functions: typeof operations) {
  return (problem: Binary, { a, b, out }: Arrays): Arrays => {
    forEachElement(problem, (i, [atA, atB]) => {
      out![i] = functions[problem.op](a![atA!]!, b![atB!]!)
    })
    return { out: out! }
  }
}

export const binaryReference = binaryWith(operations)
export const binaryIntReference = binaryWith(integerOperations)

function scalarWith({ add, sub, mul, div }: typeof operations, round: (s: number) => number) {
  return ({ op, scalar }: WithScalar, { x }: Arrays): Arrays => {
    const s = round(scalar)
    const apply = {
      add: (v: number) => add(v, s),
      mul: (v: number) => mul(v, s),
      div: (v: number) => div(v, s),
      subFrom: (v: number) => sub(s, v),
      divInto: (v: number) => div(s, v),
    }[op]
    return { out: x!.map(apply) }
  }
}

export const scalarReference = scalarWith(operations, Math.fround)
export const scalarIntReference = scalarWith(integerOperations, Math.trunc)

export function castReference(_: unknown, { x }: Arrays): Arrays {
  return { y: x!.map((value) => (Number.isNaN(value) ? -(2 ** 31) : Math.trunc(value))) }
}

/** The power of IEEE 754: unlike `**` it is 1 for a base of 1, and for one of -1 with an infinite exponent. */
function power(base: number, exponent: number): number {
  return base === 1 || (base === -1 && Math.abs(exponent) === Infinity) ? 1 : base ** exponent
}

export function powReference(problem: NestProblem, { a, b, out }: Arrays): Arrays {
  forEachElement(problem, (i, [atA, atB]) => {
    out![i] = power(a![atA!]!, b![atB!]!)
  })
  return { out: out! }
}

export function powBackwardReference(problem: PowBackward, { grad, a, b, out }: Arrays): Arrays {
  forEachElement(problem, (i, [atGrad, atA, atB]) => {
    const v = a![atA!]!
    const e = b![atB!]!
    const derivative = problem.exponent
      ? v <= 0
        ? 0
        : power(v, e) * Math.log(v)
      : e === 0
        ? 0
        : e * Math.fround(power(v, Math.fround(e - 1)))
    out![i] = grad![atGrad!]! * derivative
  })
  return { out: out! }
}

export function whereReference(problem: NestProblem, { condition, a, b, out }: Arrays): Arrays {
  forEachElement(problem, (i, [atCondition, atA, atB]) => {
    out![i] = condition![atCondition!]! !== 0 ? a![atA!]! : b![atB!]!
  })
  return { out: out! }
}

export function accumulateReference(problem: NestProblem, { x, out }: Arrays): Arrays {
  forEachElement(problem, (i, [atX]) => {
    out![i]! += x![atX!]!
  })
  return { out: out! }
}

/** Rounds every result to float32, as the kernel does: an error of one step would grow in those after it. */
export function chainReference(problem: Chain, tensors: Arrays): Arrays {
  const functions = { ...operations, neg: unaryFunctions.neg.f, sqrt: unaryFunctions.sqrt.f, relu: unaryFunctions.relu.f }
  for (const { op, a, b, out, number } of chainSteps(problem)) {
    const at = (slot: number | 'number', i: number) => (slot === 'number' ? number : tensors[`t${slot}`]![i]!)
    for (let i = 0; i < problem.count; i++) tensors[`t${out}`]![i] = Math.fround(functions[op](at(a, i), at(b, i)))
  }
  return tensors
}

/** out = a + b + c, and + d with four terms, in float64. */
export function addFourReference({ count, terms }: AddFour, { a, b, c, d, out }: Arrays): Arrays {
  for (let i = 0; i < count; i++) out![i] = a![i]! + b![i]! + c![i]! + (terms === 4 ? d![i]! : 0)
  return { out: out! }
}
