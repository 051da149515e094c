// Backward must refuse a value that was changed in place after the forward pass, as PyTorch's version counters do.
import * as assert from 'uvu/assert'
import {
  autocast,
  avgPool2d,
  batchNorm,
  capture,
  conv2d,
  firstTokenAttention,
  fork,
  groupNorm,
  layerNorm,
  linear,
  matmul,
  maxPool2d,
  mlp,
  mseLoss,
  noGrad,
  recompute,
  requestDevice,
  rmsNorm,
  StaleValueError,
  scope,
  type Tensor,
  tensor,
} from '../../engine/index.ts'
import { AdamW } from '../../train/index.ts'
import { leaf, staleBy } from '../harness/staleValues.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`stale values on ${device.summary.name}`)

test('a write between forward and backward is named, with the op and the tensor', () => {
  const w = leaf([2])
  const loss = w
    .mul(tensor([3]))
    .mul(w)
    .sum()
  w.write(Float32Array.of(100))
  const message = staleBy(() => loss.backward())
  assert.match(message, /^mul\.backward: float32 \[1\] was changed by write after the forward pass used it;/)
})

test('what does not depend on the old value goes through, as does a change before forward or after backward', async () => {
  const w = leaf([2, 5])
  const unused = w.add(tensor([1, 1])).sum() // the gradient of a sum depends on no values
  w.write(Float32Array.of(7, 7))
  unused.backward()
  assert.equal([...(await w.grad!.data())], [1, 1])
  const loss = w.mul(w).sum()
  loss.backward()
  w.write(Float32Array.of(0, 0))
  assert.equal([...(await w.grad!.data())], [15, 15])
})

test('products and layers mind a change only of what the gradients that are wanted come from', async () => {
  const values = (shape: number[]) => {
    const size = shape.reduce((a, b) => a * b, 1)
    return tensor(
      Float32Array.from({ length: size }, (_, i) => ((7 * i) % 11) / 8 - 0.5),
      { shape },
    )
  }
  /** Ops with the shapes of their inputs; `needs` lists for each input the inputs that its gradient depends on. */
  const cases: Record<string, { of: (inputs: Tensor[]) => Tensor; shapes: number[][]; needs: number[][] }> = {
    linear: {
      of: ([x, w, b]) => linear(x!, w!, b),
      shapes: [[2, 3], [4, 3], [4]],
      needs: [[1], [0], []],
    },
    matmul: {
      of: ([a, b]) => matmul(a!, b!),
      shapes: [
        [2, 2, 3],
        [3, 2],
      ],
      needs: [[1], [0]],
    },
    'matmul of vectors': { of: ([a, b]) => matmul(a!, b!), shapes: [[3], [2, 3, 2]], needs: [[1], [0]] },
    mlp: {
      of: ([x, w1, b1, w2, b2]) => mlp(x!, w1!, b1!, w2!, b2!),
      shapes: [[2, 3], [4, 3], [4], [2, 4], [2]],
      needs: [[1, 3], [0, 3], [3], [], []],
    },
    layerNorm: {
      of: ([x, w, b]) => layerNorm(x!, w!, b!),
      shapes: [[2, 4], [4], [4]],
      needs: [[0, 1], [0], [0]],
    },
    rmsNorm: { of: ([x, w]) => rmsNorm(x!, w!), shapes: [[2, 4], [4]], needs: [[0, 1], [0]] },
    conv2d: {
      of: ([x, w, b]) => conv2d(x!, w!, b),
      shapes: [[1, 2, 3, 3], [2, 2, 2, 2], [2]],
      needs: [[1], [0], []],
    },
    avgPool2d: { of: ([x]) => avgPool2d(x!, 2), shapes: [[1, 2, 4, 4]], needs: [[]] },
    maxPool2d: { of: ([x]) => maxPool2d(x!, 2), shapes: [[1, 2, 4, 4]], needs: [[]] },
    batchNorm: { of: ([x, w, b]) => batchNorm(x!, w!, b!), shapes: [[2, 3, 2], [3], [3]], needs: [[0, 1], [0], []] },
    groupNorm: { of: ([x, w, b]) => groupNorm(x!, 1, w!, b!), shapes: [[2, 3, 2], [3], [3]], needs: [[0, 1], [0], []] },
    mseLoss: {
      of: ([x, t]) => mseLoss(x!, t!),
      shapes: [[2], [2]],
      needs: [
        [0, 1],
        [0, 1],
      ],
    },
    maximum: {
      of: ([a, b]) => a!.maximum(b!),
      shapes: [[2, 4], [4]],
      needs: [
        [0, 1],
        [0, 1],
      ],
    },
    lerp: { of: ([x, u, w]) => x!.lerp(u!, w!), shapes: [[2, 4], [4], [4]], needs: [[2], [2], [0, 1]] },
    norm: { of: ([x]) => x!.norm(1), shapes: [[2, 4]], needs: [[0]] },
    std: { of: ([x]) => x!.std(1), shapes: [[2, 4]], needs: [[0]] },
    prod: { of: ([x]) => x!.prod(1), shapes: [[2, 4]], needs: [[0]] },
    cumprod: { of: ([x]) => x!.cumprod(1), shapes: [[2, 4]], needs: [[0]] },
    sort: { of: ([x]) => x!.sort(1)[0], shapes: [[2, 4]], needs: [[]] },
    firstTokenAttention: {
      of: ([u, w]) => firstTokenAttention(u!, w!, 1),
      shapes: [
        [2, 3, 4],
        [12, 4],
      ],
      needs: [[1], [0]],
    },
  }
  for (const [name, { of, shapes, needs }] of Object.entries(cases)) {
    for (const wanted of shapes.keys()) {
      const gradient = async (changed?: number): Promise<number[]> => {
        const inputs = shapes.map(values)
        inputs[wanted]!.requiresGrad = true
        const out = of(inputs)
        if (changed !== undefined) inputs[changed]!.write(new Float32Array(inputs[changed]!.size).fill(9))
        out.backward(values([...out.shape]))
        return [...(await inputs[wanted]!.grad!.data())]
      }
      const right = await gradient()
      for (const changed of shapes.keys()) {
        const what = `${name}: gradient of input ${wanted}, changed ${changed}`
        if (needs[wanted]!.includes(changed)) {
          let error: unknown
          await gradient(changed).catch((thrown) => {
            error = thrown
          })
          assert.instance(error, StaleValueError, what)
        } else assert.equal(await gradient(changed), right, what)
      }
    }
  }
})

test('through views and of them, detached or not', () => {
  const changes: [string, (w: Tensor) => Tensor, (w: Tensor) => void][] = [
    ['a slice is written', (w) => w.mul(w), (w) => noGrad(() => w.slice([[0, 1]])).write(Float32Array.of(9))],
    ['a detached view is written', (w) => w.mul(w), (w) => w.detach().write(Float32Array.of(9, 9))],
    ['of a reshaped view', (w) => w.reshape([2, 1]).mul(w.reshape([2, 1])), (w) => w.write(Float32Array.of(9, 9))],
    [
      'of a transposed one',
      (w) =>
        w
          .reshape([1, 2])
          .transpose(0, 1)
          .matmul(w.reshape([1, 2])),
      (w) => w.write(Float32Array.of(9, 9)),
    ],
  ]
  for (const [what, forward, change] of changes) {
    const w = leaf([2, 3])
    const loss = forward(w).sum()
    change(w)
    assert.match(
      staleBy(() => loss.backward()),
      /changed by write/,
      what,
    )
  }
})

test('the result of an op that its backward needs', () => {
  const x = leaf([0.5, 1])
  const y = x.exp()
  const loss = y.sum()
  y.detach().write(Float32Array.of(0, 0))
  assert.match(
    staleBy(() => loss.backward()),
    /^exp\.backward: /,
  )
})

test('a gradient that is on a tape of its own, once more is added to it', async () => {
  const free = leaf([2, 3])
  const inArena = leaf([2, 3])
  const optimizer = new AdamW([['w', inArena]])
  const penalties = [free, inArena].map((w) => {
    w.mul(w).sum().backward()
    const factor = leaf([1, 1])
    const penalty = factor.mul(w.grad!).sum()
    w.mul(w).sum().backward()
    return { penalty, factor }
  })
  // Outside an arena the sum of gradients has new memory; inside it overwrites the first gradient.
  penalties[0]!.penalty.backward()
  assert.equal([...(await penalties[0]!.factor.grad!.data())], [4, 6])
  assert.match(
    staleBy(() => penalties[1]!.penalty.backward()),
    /^mul\.backward: float32 \[2\] was changed by mul\.backward after/,
  )
  optimizer.dispose()
})

test('a result of a capture is overwritten by the next replay', () => {
  const double = capture(function twice(x: Tensor) {
    return x.mul(2)
  })
  const w = leaf([2, 3])
  const loss = w.mul(double(tensor([1, 1]))).sum()
  double(tensor([5, 5]))
  assert.match(
    staleBy(() => loss.backward()),
    /changed by twice after/,
  )
  const same = capture((x: Tensor) => x)
  const of = w.mul(same(tensor([1, 1]))).sum()
  same(tensor([5, 5]))
  staleBy(() => of.backward())
  double.dispose()
  same.dispose()
})

test('inside a capture, when it is recorded', () => {
  const w = leaf([2, 3])
  const step = capture((x: Tensor) => {
    const loss = w.mul(x).mul(w).sum()
    w.write(Float32Array.of(1, 1))
    loss.backward()
    return loss
  })
  staleBy(() => step(tensor([1, 1])))
})

test('what is recomputed reads what it read at first: weights, biases that nothing saves, inner parts', () => {
  const [w, b, x] = [leaf([2, 3]), leaf([1, 1]), leaf([1, 2])]
  const part = (t: Tensor) => t.mul(w).add(b).exp()
  const variants: [string, (t: Tensor) => Tensor][] = [
    ['once', (t) => recompute(part, t)],
    ['within another', (t) => recompute((u: Tensor) => recompute(part, u).mul(u), t)],
  ]
  for (const [what, forward] of variants) {
    for (const changed of [w, b, x]) {
      const loss = forward(x).sum()
      changed.write(Float32Array.of(0, 0))
      assert.match(
        staleBy(() => loss.backward()),
        /recomputed for backward: float32 \[2\] was changed by write/,
        what,
      )
    }
  }
})

test('a branch of a fork', () => {
  const w = leaf([2, 3])
  const [a, b] = fork(device, 'coalesced', { a: () => w.mul(1).mul(w), b: () => w.mul(2).mul(w) }) as [Tensor, Tensor]
  const loss = a.add(b).sum()
  w.write(Float32Array.of(1, 1))
  staleBy(() => loss.backward())
})

if (device.capabilities.f16) {
  test('autocast converts a parameter again once it was changed', async () => {
    const w = tensor([1, 2, 3, 4], { shape: [2, 2], requiresGrad: true })
    const x = tensor([1, 0, 0, 1], { shape: [2, 2] })
    const [before, after] = autocast('float16', () => {
      const before = x.matmul(w)
      w.write(Float32Array.of(5, 6, 7, 8))
      return [before, x.matmul(w)] as const
    })
    assert.equal([...(await before.data())], [1, 2, 3, 4])
    assert.equal([...(await after.data())], [5, 6, 7, 8])
  })
}

test('scopes end without touching the count', async () => {
  const w = leaf([2, 3])
  const loss = scope(() => w.mul(w).sum())
  loss.backward()
  assert.equal([...(await w.grad!.data())], [4, 6])
})

run()
