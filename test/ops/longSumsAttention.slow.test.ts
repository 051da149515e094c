// Attention over ten million keys, and its gradients over ten million keys or queries; over a million with every variant.
import { requestDevice } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'
import { checkSums, manyKeys, manyQueries, type Sums, VALUES, variantsOn } from './longSumsAttention.ts'

const device = await requestDevice()
const { test, run } = suite('very long sums of attention')

/** Tests that some variants add up what `make` makes, once in float64. */
function testSums(title: string, variants: readonly string[], make: () => Sums[]): void {
  let sums: Sums[] = []
  test(`${title} in float64`, () => {
    sums = make()
  })
  for (const variant of variants) test(`${title}, ${variant}`, () => checkSums(device, variant, sums))
  test(`${title}: end`, () => {
    sums = []
  })
}

const [MANY, HALF, MILLION] = [10_000_000, 5_000_000, 1_000_003]
for (const [name, values] of VALUES) {
  testSums(`the output of ${MANY} keys, ${name}`, ['direct'], () =>
    manyKeys(MANY, values).filter(({ names }) => names.includes('out')),
  )
  // Backward has the gradients of keys and values in one buffer, of at most 128 MiB on some drivers.
  testSums(`the gradient of queries over ${HALF} keys, ${name}`, ['direct'], () => manyKeys(HALF, values))
  testSums(`${MANY} queries, ${name}`, ['direct'], () => manyQueries(MANY, values))
  testSums(`${MILLION} keys and queries, ${name}`, variantsOn(device), () => [
    ...manyKeys(MILLION, values),
    ...manyQueries(MILLION, values),
  ])
}
test('ends', () => device.destroy())
run()
