import * as assert from 'uvu/assert'
import { ArgumentError, ShapeError } from '../../engine/base/errors.ts'
import { kindOf } from '../../engine/base/kind.ts'
import { checkOptions, nearest } from '../../engine/base/options.ts'
import { messageOf } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('arguments')

test('kinds of values in messages', () => {
  class Point {}
  const kinds: [unknown, string][] = [
    [undefined, 'undefined'],
    [null, 'null'],
    [Number.NaN, 'NaN'],
    [-0, '-0'],
    ['3', '"3"'],
    ['a\nb', '"a\\nb"'],
    ['x'.repeat(100), `"${'x'.repeat(60)}" and more`],
    [3n, '3n'],
    [true, 'true'],
    [Symbol('s'), 'a symbol'],
    [() => {}, 'a function'],
    [[1, 0], '[1, 0]'],
    [[1, undefined, '2'], '[1, undefined, "2"]'],
    // A hole in an array is shown as undefined, which it reads as.
    [Array(2), '[undefined, undefined]'],
    [[[1], [2]], 'a list of 2'],
    [Array(9).fill(0), 'a list of 9'],
    [new Float32Array(3), 'Float32Array(3)'],
    [new DataView(new ArrayBuffer(8)), 'DataView(8)'],
    [{}, 'an object'],
    [Object.create(null), 'an object'],
    [new Point(), 'an object of class Point'],
  ]
  for (const [value, kind] of kinds) assert.is(kindOf(value), kind)
})

test('unknown options name the nearest known one', () => {
  const known = { dtype: true, requiresGrad: true, device: true } as const
  const check = (options: unknown) => messageOf(() => checkOptions<any>('tensor', options as object, known))
  checkOptions<any>('tensor', undefined, known)
  checkOptions<any>('tensor', { dtype: 'int32', device: undefined }, known)
  const takes = 'it takes dtype, requiresGrad, device'
  assert.is(check({ requires_grad: true }), `tensor: unknown option "requires_grad" (did you mean "requiresGrad"?); ${takes}`)
  assert.is(check({ dType: 'int32' }), `tensor: unknown option "dType" (did you mean "dtype"?); ${takes}`)
  assert.is(check({ grad: undefined }), `tensor: unknown option "grad"; ${takes}`)
  // The names of inherited properties are unknown options.
  assert.match(check({ toString: 1 }), 'unknown option "toString"')
  const kinds: [unknown, string][] = [
    [null, 'null'],
    ['int32', '"int32"'],
    [7, '7'],
    [[], '[]'],
    [() => {}, 'a function'],
    [new Float32Array(1), 'Float32Array(1)'],
    [new Map(), 'an object of class Map'],
  ]
  for (const [options, kind] of kinds) {
    assert.is(check(options), `tensor: got ${kind} as options, takes an object such as { dtype: … }`)
  }
})

test('the nearest name', () => {
  const known = ['labelSmoothing', 'weightDecay', 'reduction', 'lr']
  assert.is(nearest('label_smoothing', known), 'labelSmoothing')
  assert.is(nearest('weight-decay', known), 'weightDecay')
  assert.is(nearest('reducton', known), 'reduction')
  assert.is(nearest('LR', known), 'lr')
  assert.is(nearest('momentum', known), undefined)
  assert.is(nearest('', known), undefined)
})

test('a ShapeError is an ArgumentError', () => {
  const error = new ShapeError('sum: …')
  assert.instance(error, ArgumentError)
  assert.is(error.name, 'ShapeError')
  assert.is(new ArgumentError('…').name, 'ArgumentError')
})

run()
