import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { suite } from '../harness/suite.ts'
import { typesOf, wrongParams } from './docParams.ts'
import { modules } from './sources.ts'

const texts = new Map(modules.map((file) => [file, readFileSync(file, 'utf8')]))

const { test, run } = suite('parameters in docstrings')

test('every @param names a parameter of the function below it', () => {
  const types = typesOf(texts)
  const wrong = [...texts].flatMap(([file, text]) => wrongParams(file, text, types))
  assert.equal(wrong.join('\n'), '')
})

test('the rule: functions, methods, signatures and constants are checked, with the properties of their options', () => {
  const doc = (name: string) => `/** @param ${name} */`
  const text = `
    interface Base { shared: number }
    interface Options extends Base { bias: number }
    ${doc('a')} export function f(a: number): void {}
    ${doc('b')} function g({ b }: { b: number }): void {}
    ${doc('options.b')} function h({ b }: { b: number; c: number }): void {}
    ${doc('options.c')} async function* i({ b }: { b: number; c: number }): void {}
    ${doc('options.shared')} export const j = async (options: Readonly<Options> = {}) => {}
    ${doc('options.slope')} const k = (options: Options) => {}
    class L {
      ${doc('m')} constructor(private readonly m: number) {}
      ${doc('m')} n(...m: number[]): void {}
      ${doc('x')} o(y: number): void {}
    }
    interface P {
      ${doc('q')} r(q: number): void
      ${doc('q')} s?: (q: number) => void
      ${doc('t')} u: (q: number) => void
    }
    ${doc('v')} type W = (v: number) => void
    ${doc('x')} const y = 1
    function make() { return (made: number) => {} }
    ${doc('made')} export const c = make()
    ${doc('x')} const d = make()
    /** @param z one
     *  @param z two */
    function z(z: number): void {}
    /** @param {number} z of JavaScript, @param {number} [e] that may be missing, @param {number} f */
    function js(z, e) {}
  `
  const found = wrongParams('x.ts', text, typesOf(new Map([['x.ts', text]])))
  assert.equal(
    found.map((line) => line.replace(/^x\.ts:\d+: /, '')),
    [
      '@param b names no parameter',
      '@param options.slope names no parameter',
      '@param x names no parameter',
      '@param t names no parameter',
      '@param x, but no function stands below',
      '@param x names no parameter',
      '@param z twice',
      '@param f names no parameter',
    ],
  )
})

run()
