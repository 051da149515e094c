// Attention over ten million keys, and its gradients over ten million keys or queries; over a million with every variant.
import { requestDevice } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'
import { checkSums, manyKeys, manyQueries, type Sums, VALUES, variantsOn } from './longSumsAttention.ts'

const device = await requestDevice()
const { test, run } = suite('very long sums of attention')

for (const [count, variants] of [
  [10_000_000, ['direct']],
  [1_000_003, variantsOn(device)],
] as const) {
  for (const [name, values] of VALUES) {
    let sums: Sums[] = []
    test(`${count} keys and queries in float64, ${name}`, () => {
      sums = [...manyKeys(count, values), ...manyQueries(count, values)]
    })
    for (const variant of variants) {
      test(`${count} keys and queries, ${name}, ${variant}`, () => checkSums(device, variant, sums))
    }
  }
}
test('ends', () => device.destroy())
run()
