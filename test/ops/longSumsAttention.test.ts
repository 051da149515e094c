// Attention over many keys, and its gradients over many keys or queries: rounding must hardly grow with their number.
import { requestDevice } from '../../engine/index.ts'
import { suite } from '../harness/suite.ts'
import { checkSums, manyKeys, manyQueries, type Sums, VALUES, variantsOn } from './longSumsAttention.ts'

const device = await requestDevice()
const { test, slow, run } = suite('long sums of attention')

/** One case in float64, and tests of the variants that add it up. */
function testSums(count: number, [name, values]: (typeof VALUES)[number], variants: readonly string[]): void {
  let sums: Sums[] = []
  test(`${count} keys and queries in float64, ${name}`, () => {
    sums = [...manyKeys(count, values), ...manyQueries(count, values)]
  })
  for (const variant of variants) {
    // `tiled` computes many keys at once, so that it takes a software device half a minute.
    const register = variant === 'tiled' ? slow : test
    register(`${count} keys and queries, ${name}, ${variant}`, () => checkSums(device, variant, sums))
  }
}

// The constant is the worst case, and `direct` what few queries or keys get.
testSums(50_003, VALUES[0]!, variantsOn(device))
// Another device, the default one, adds up the longest sums.
if (globalThis.process?.env.PARAFORMER_PIPELINES !== 'few') {
  testSums(1_000_003, VALUES[0]!, ['direct'])
  for (const value of VALUES.slice(1)) testSums(100_003, value, ['direct'])
}
test('ends', () => device.destroy())
run()
