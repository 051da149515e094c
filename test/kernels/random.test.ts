import { entries } from '../../kernels/random/index.ts'
import { philox4x32 } from '../../kernels/random/philox.ts'
import { runKernelSuite } from '../harness/kernelSuite.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('Philox')

// Known answers that the authors publish with Random123 (kat_vectors, philox4x32 10).
const known: [string, [number, number, number, number], [number, number]][] = [
  ['6627e8d5 e169c58d bc57ac4c 9b00dbd8', [0, 0, 0, 0], [0, 0]],
  ['408f276d 41c83b0e a20bc7c6 6d5451fd', [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff]],
  ['d16cfe09 94fdcceb 5001e420 24126ea1', [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]],
]

for (const [expected, counter, key] of known) {
  test(`known words ${expected}`, () => {
    const words = Array.from(philox4x32(counter, key), (word) => word.toString(16).padStart(8, '0')).join(' ')
    if (words !== expected) throw new Error(`Philox gives ${words}, expected ${expected}`)
  })
}
run()

await runKernelSuite('random', entries)
