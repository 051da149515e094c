import type { KernelCase } from '../../kernels/spec.ts'
import { type Cover, casesOfFewPipelines } from '../harness/fewPipelines.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('few pipelines')
const kase = (name: string, problem: Record<string, string | number>): KernelCase => ({ name, problem, sizes: {} })

function expectCases(cases: readonly KernelCase[], expected: string, cover: Cover = 'values'): void {
  const names = casesOfFewPipelines(cases, ({ problem }) => problem, cover).map(({ name }) => name)
  if (names.join(' ') !== expected) throw new Error(`${names.join(' ')}, expected ${expected}`)
}

test('every value is compiled, a constant that is left out too; not every combination', () => {
  const cases = [
    kase('a', { WIDTH: 16, ROWS: 2 }),
    kase('b', { WIDTH: 16, ROWS: 4 }),
    kase('c', { WIDTH: 32, ROWS: 2 }),
    kase('d', { WIDTH: 32, ROWS: 4 }),
    kase('e', { WIDTH: 32, ROWS: 4, Scalar: 'f16' }),
  ]
  expectCases(cases, 'a e')
})

test('all cases of a pipeline that is taken run, and those of the one with most cases are taken', () => {
  const cases = [kase('a', { N: 1, M: 1 }), kase('b', { N: 2, M: 1 }), kase('c', { N: 2, M: 1 }), kase('d', { N: 1, M: 1 })]
  expectCases(cases, 'a b c d')
  expectCases(
    [
      kase('a', { N: 1, M: 1 }),
      kase('b', { N: 2, M: 2 }),
      kase('c', { N: 2, M: 1 }),
      kase('d', { N: 1, M: 2 }),
      kase('e', { N: 1, M: 2 }),
    ],
    'c d e',
  )
})

test('every pair of values is compiled, not every combination', () => {
  const cases = [0, 1].flatMap((a) => [0, 1].flatMap((b) => [0, 1].map((c) => kase(`${a}${b}${c}`, { A: a, B: b, C: c }))))
  expectCases(cases, '000 011 101 110', 'pairs')
  expectCases([kase('a', { N: 1 }), kase('b', { N: 2 })], 'a b', 'pairs')
})

test('a step that a problem switches on at run time is a value too', () => {
  const cases = [kase('a', { N: 1, M: 1, flags: 1 }), kase('b', { N: 2, M: 2, flags: 1 }), kase('c', { N: 1, M: 2, flags: 8 })]
  const names = casesOfFewPipelines(cases, ({ problem: { N, M } }) => ({ N, M }), 'values').map(({ name }) => name)
  if (names.join() !== 'a,b,c') throw new Error(names.join())
})

test('one pipeline is the one with most cases', () => {
  expectCases([kase('a', { N: 1 }), kase('b', { N: 2 }), kase('c', { N: 2 })], 'b c', 'one')
  expectCases([], '', 'one')
})

test('cases of one pipeline all stay', () => expectCases([kase('a', {}), kase('b', {})], 'a b'))

run()
