// The examples that need no files, run as a user runs them.
import * as assert from 'uvu/assert'
import { suite } from '../harness/suite.ts'
import { makeUser, numbersAfter } from '../harness/user.ts'

const user = makeUser()
const { test, slow, run } = suite('examples')
const node = (example: string, ...args: string[]): string => user.start(process.execPath, `examples/${example}`, ...args)

test('the MLP learns MNIST', () => {
  const said = node('mlp.mjs')
  const [early, late] = [numbersAfter(said, /step 100: loss /), numbersAfter(said, /step 400: loss /)]
  assert.ok(early[0]! < 0.8 && late[0]! < 0.6, said)
  const [images] = numbersAfter(said, / % of /)
  assert.ok(Number(/([\d.]+) % of/.exec(said)![1]) > 91 && images === 10000, said)
})

test('the op has the gradient that finite differences have, and its MLP learns the wave', () => {
  const said = node('ownOp.mjs')
  const [distance] = numbersAfter(said, /finite differences: /)
  // Central differences of step 0.01 are wrong by 4 a^2 / 6 of its square.
  assert.ok(distance! > 0 && distance! < 4e-4, said)
  assert.ok(numbersAfter(said, /step 200: mean square error /)[0]! < 1e-3, said)
})

test('the gated sum and the plain one learn from the same beginning, and the gates move', () => {
  const said = node('gatedSum.mjs')
  for (const name of ['plain', 'gated']) {
    const [prefix = 0, , , whole = 0] = numbersAfter(said, new RegExp(`${name}: prefixes 1 to 4 have `))
    assert.ok(prefix > 50 && whole > 65, said)
  }
  const [plain, gated] = ['ParaFormer', 'GatedSum'].map((name) => numbersAfter(said, new RegExp(`${name}, step 50: loss `))[0]!)
  assert.ok(plain !== gated && Math.abs(plain! - gated!) < 0.2, said)
  const gates = numbersAfter(said, /gates: /)
  assert.ok(gates.length === 4 && gates.every((gate) => gate !== 1 && gate > 0.3 && gate < 2), said)
})

test('a prefix of two branches is what the whole model has as prefix 2, and learns turned digits', () => {
  const said = node('finetunePrefix.mjs')
  const shares = (row: string) => numbersAfter(said, new RegExp(row))
  for (const degrees of [0, 45])
    assert.equal(shares(`before, ${degrees} degrees: `), shares(`prefixes 1 to 4, ${degrees} degrees: `).slice(0, 2))
  const [before, after] = [shares('before, 45 degrees: ')[1]!, shares('after, 45 degrees: ')[1]!]
  assert.ok(shares('before, 0 degrees: ')[1]! > 55 && before < 45 && after > before + 20, said)
})

slow('the character Transformer learns its own text and writes', () => {
  const said = node('charTransformer.mjs', 'examples/charTransformer.mjs', '60')
  const [first, last] = [numbersAfter(said, /step 0: loss /), numbersAfter(said, /step 59: loss /)]
  assert.ok(first[0]! > 3.8 && last[0]! < 2.5, said)
  assert.is(JSON.parse(said.trim().split('\n').at(-1)!).length, 100)
})

slow('the ResNet learns MNIST', () => {
  const said = node('resnet.mjs')
  const [last] = numbersAfter(said, /step 149: loss /)
  const right = Number(/([\d.]+) % of 1000/.exec(said)![1])
  assert.ok(last! < 0.5 && right > 88, said)
})

test('ends', () => user.remove())
run()
