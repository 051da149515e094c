import { einsum, requestDevice, type Shape, type Tensor, tensor } from '../../engine/index.ts'
import { sizeOf } from '../../engine/layout/shape.ts'
import { assertShapeError, checkOp, leaf, normals, stridedLeaf } from '../harness/checkOp.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('einsum op')

/** The result and the gradients by plain loops over all labels. Labels are letters; a dim of size 1 broadcasts. */
function reference(equation: string, shapes: readonly Shape[], values: readonly Float32Array[], cotangent?: Float32Array) {
  const [left, output] = equation.split('->') as [string, string]
  const terms = left.split(',')
  const sizes = new Map<string, number>()
  for (const [i, term] of terms.entries()) {
    for (const [d, label] of [...term].entries()) sizes.set(label, Math.max(sizes.get(label) ?? 1, shapes[i]![d]!))
  }
  const labels = [...sizes.keys()]
  const shape = [...output].map((label) => sizes.get(label)!)
  const [result, gradients] = [new Float64Array(sizeOf(shape)), shapes.map((s) => new Float64Array(sizeOf(s)))]
  const index = new Map<string, number>()
  const at = (term: string, s: Shape) => [...term].reduce((sum, l, d) => sum * s[d]! + (s[d] === 1 ? 0 : index.get(l)!), 0)
  for (let i = 0; i < sizeOf([...sizes.values()]); i++) {
    let rest = i
    for (const label of labels) {
      index.set(label, rest % sizes.get(label)!)
      rest = Math.floor(rest / sizes.get(label)!)
    }
    const places = terms.map((term, k) => at(term, shapes[k]!))
    const factors = places.map((place, k) => values[k]![place]!)
    const target = at(output, shape)
    result[target]! += factors.reduce((product, factor) => product * factor, 1)
    for (const [k, place] of places.entries()) {
      const others = factors.reduce((product, factor, j) => (j === k ? product : product * factor), 1)
      gradients[k]![place]! += (cotangent?.[target] ?? 0) * others
    }
  }
  return { shape, result, gradients }
}

/** Equations, shapes, and the equation in full where the first one leaves something out. */
const CASES: [equation: string, shapes: Shape[], full?: string][] = [
  [
    'bhtd,bhsd->bhts',
    [
      [2, 3, 5, 4],
      [2, 3, 7, 4],
    ],
  ],
  [
    'bhts,bhsd->bthd',
    [
      [2, 3, 5, 7],
      [2, 3, 7, 4],
    ],
  ],
  [
    'ij,jk->ik',
    [
      [7, 5],
      [5, 3],
    ],
  ],
  [
    'ij,jk',
    [
      [7, 5],
      [5, 3],
    ],
    'ij,jk->ik',
  ],
  [
    'ba,cb',
    [
      [5, 7],
      [3, 5],
    ],
    'ba,cb->ac',
  ],
  ['i,i->', [[33], [33]]],
  ['i,j->ji', [[4], [9]]],
  ['ii->i', [[6, 6]]],
  ['ii', [[6, 6]], 'ii->'],
  [
    'iij,jk->ki',
    [
      [4, 4, 3],
      [3, 5],
    ],
  ],
  ['ijk->kj', [[3, 4, 5]]],
  ['ij->ji', [[3, 4]]],
  [
    'ij,ij->ij',
    [
      [3, 4],
      [3, 4],
    ],
  ],
  [
    'bi,bj->bij',
    [
      [3, 4],
      [3, 5],
    ],
  ],
  [
    'ij,kl->ki',
    [
      [3, 4],
      [5, 6],
    ],
  ],
  [
    'ij,jk,kl->il',
    [
      [3, 4],
      [4, 5],
      [5, 2],
    ],
  ],
  [
    'bi,ij,bj->b',
    [
      [3, 4],
      [4, 5],
      [3, 5],
    ],
  ],
  ['a,b,c,d->dcba', [[2], [3], [4], [2]]],
  [
    '...i,ij->...j',
    [
      [2, 3, 4],
      [4, 5],
    ],
    'abi,ij->abj',
  ],
  [
    '...ij,...jk->...ik',
    [
      [3, 2, 4],
      [5, 1, 4, 3],
    ],
    'bij,abjk->abik',
  ],
  [
    'i...,i...->...',
    [
      [3, 2, 4],
      [3, 4],
    ],
    'iab,ib->ab',
  ],
  ['...j', [[3, 4]], 'aj->aj'],
  [
    'ij,jk->ik',
    [
      [7, 1],
      [5, 3],
    ],
  ],
  [
    'nchw , kc -> nkhw',
    [
      [2, 3, 4, 5],
      [6, 3],
    ],
    'nchw,kc->nkhw',
  ],
]

for (const [equation, shapes, full = equation] of CASES) {
  test(`${equation} of ${shapes.map((shape) => `[${shape}]`).join(' and ')}`, async () => {
    const values = shapes.map((shape, i) => normals(sizeOf(shape), i + 1))
    const { shape, result } = reference(full, shapes, values)
    const cotangent = normals(result.length, 9)
    const { gradients } = reference(full, shapes, values, cotangent)
    for (const make of [leaf, stridedLeaf]) {
      const inputs = shapes.map((s, i) => make(values[i]!, s))
      await checkOp(equation, (...t) => einsum(equation, ...t), inputs, { shape, output: result, cotangent, gradients })
    }
  })
}

test('a batched product is one product of views: attention scores take one dispatch', () => {
  const [q, k] = [1, 2].map((seed) => tensor(normals(2 * 3 * 8 * 4, seed), { shape: [2, 3, 8, 4] })) as [Tensor, Tensor]
  const before = device.counts.dispatches
  einsum('bhtd,bhsd->bhts', q, k)
  const launched = device.counts.dispatches - before
  if (launched > 1) throw new Error(`${launched} dispatches`)
})

test('int32 products are exact', async () => {
  const a = tensor(Int32Array.of(16777217, 1, 2, 3), { shape: [2, 2] })
  const y = await einsum('ij,jk->ik', a, tensor(Int32Array.of(1, 0, 0, 1), { shape: [2, 2] })).data()
  if (`${y}` !== '16777217,1,2,3') throw new Error(`got ${y}`)
})

test('refuses what it cannot take', () => {
  const x = tensor(new Float32Array(6), { shape: [2, 3] })
  for (const [equation, part] of [
    ['ij->ik', 'label k is in the result alone'],
    ['ij->ii', 'label i is twice in the result'],
    ['ijk->i', 'term "ijk" does not fit operand 0 [2, 3]'],
    ['i1->i', 'got "i1" in "i1->i", takes letters'],
    ['ij->i->j', 'got two arrows'],
    ['ij,jk->ik', '"ij,jk->ik" has 2 terms for 1 tensors'],
    ['......->', 'got "......" in "......->", takes letters'],
  ] as const) {
    assertShapeError(() => einsum(equation, x), `einsum: ${part}`)
  }
  assertShapeError(() => einsum('ij,jk->ik', x, x), 'einsum: label j is 3 and, in operand 1 [2, 3], 2')
})

test('ends', () => device.destroy())
run()
