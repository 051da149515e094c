// Parameters that change between a forward pass and its backward pass, by an optimizer, an arena or a captured step.
import * as assert from 'uvu/assert'
import { capture, crossEntropy, noGrad, recompute, requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { ParaFormer } from '../../model/index.ts'
import { AdamW } from '../../train/index.ts'
import { leaf, staleBy } from '../harness/staleValues.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite(`stale parameters on ${device.summary.name}`)

const config = {
  imageSize: 4,
  patchSize: 2,
  channels: 1,
  dim: 8,
  heads: 2,
  dimHead: 4,
  mlpDim: 8,
  branches: 2,
  branchDepth: 1,
  classes: 3,
} as const
const images = tensor(
  Float32Array.from({ length: 32 }, (_, i) => Math.sin(i)),
  { shape: [2, 1, 4, 4] },
)
const labels = tensor(Int32Array.of(0, 2))

test("an optimizer's step between two backward passes (GAN), in every mode and recomputed; the parameter is named", () => {
  for (const mode of ['serial', 'streams', 'coalesced'] as const) {
    for (const recomputes of [false, true]) {
      const model = new ParaFormer(config)
      model.recomputes = recomputes
      const optimizer = new AdamW(model.namedParameters())
      const [first, second] = [0, 1].map(() => crossEntropy(model.forward(images, { mode }), labels)) as [Tensor, Tensor]
      first.backward()
      optimizer.step(1e-2)
      const message = staleBy(() => second.backward())
      assert.match(
        message,
        /\.backward: [\w.]+, float32 \[.*\] was changed by adamW after|recomputed for backward/,
        `${mode} ${recomputes}`,
      )
      optimizer.dispose()
      model.dispose()
    }
  }
})

test('loadStateDict between forward and backward', () => {
  const model = new ParaFormer(config)
  const other = new ParaFormer(config)
  const loss = crossEntropy(model.forward(images), labels)
  model.loadStateDict(other.stateDict())
  assert.match(
    staleBy(() => loss.backward()),
    /\.backward: [\w.]*(weight|bias), float32/,
  )
})

test('in an arena a change of one parameter is none of another', async () => {
  const [a, b] = [leaf([2]), leaf([5])]
  const optimizer = new AdamW([
    ['a', a],
    ['b', b],
  ])
  const loss = a.mul(a).sum()
  b.write(Float32Array.of(1))
  loss.backward()
  assert.equal([...(await a.grad!.data())], [4])
  const other = b.mul(b).sum()
  b.write(Float32Array.of(3))
  assert.match(
    staleBy(() => other.backward()),
    /mul\.backward: b, float32 \[1\] was changed by write/,
  )
  const whole = b.mul(b).sum()
  const { values } = optimizer.flat([a, b])
  values.write(new Float32Array(values.size))
  assert.match(
    staleBy(() => whole.backward()),
    /mul\.backward: b, /,
  )
  optimizer.dispose()
})

test('a step changes the parameters that have gradients, and no others of their arena', async () => {
  const [a, b] = [leaf([2]), leaf([5])]
  const both = new AdamW([
    ['a', a],
    ['b', b],
  ])
  const alone = new AdamW([['alone', b]])
  const [kept, stale] = [a.mul(a).sum(), b.mul(b).sum()]
  b.sum().backward()
  both.step(1e-2)
  alone.step(1e-2)
  kept.backward()
  assert.equal([...(await a.grad!.data())], [4])
  assert.match(
    staleBy(() => stale.backward()),
    /mul\.backward: b, float32 \[1\] was changed by adamW/,
  )
  for (const optimizer of [both, alone]) optimizer.dispose()
})

test('moving parameters into an arena changes nothing', async () => {
  const w = leaf([2, 3])
  const loss = w.mul(w).sum()
  const optimizer = new AdamW([['w', w]])
  w.write(Float32Array.of(0, 0)) // changes the memory in the arena; the tape holds the memory before the move
  loss.backward()
  assert.equal([...(await w.grad!.data())], [4, 6])
  optimizer.dispose()
})

test('what is recomputed follows parameters into an arena: a move is no change, a change before or after it is', async () => {
  const passOf = () => {
    const w = leaf([2, 3])
    const x = leaf([5, 7])
    return { w, x, loss: recompute((t) => t.mul(w).mul(w), x).sum() }
  }
  const write = (w: Tensor) => w.write(Float32Array.of(9, 9))
  const moved = passOf()
  const old = moved.w.detach()
  const optimizers = [new AdamW([['w', moved.w]])]
  write(old) // changes the memory before the move, which nobody reads
  moved.loss.backward()
  assert.equal([...(await moved.x.grad!.data())], [4, 9])
  for (const [before, after] of [
    [true, false],
    [false, true],
  ]) {
    const { w, loss } = passOf()
    if (before) write(w)
    optimizers.push(new AdamW([['w', w]]))
    if (after) write(w)
    assert.match(
      staleBy(() => loss.backward()),
      /^mul, recomputed for backward: w, float32 \[2\] was changed by /,
    )
  }
  // The parameter moves twice, from one arena into another.
  const { w, loss } = passOf()
  new AdamW([
    ['w', w],
    ['v', leaf([1])],
  ]).dispose()
  optimizers.push(new AdamW([['w', w]]))
  write(w)
  staleBy(() => loss.backward())
  for (const optimizer of optimizers) optimizer.dispose()
})

test('a captured step changes parameters in every replay', () => {
  const w = leaf([2, 3])
  const optimizer = new AdamW([['w', w]])
  const step = capture(function trainStep(x: Tensor) {
    const loss = w.mul(x).sum()
    loss.backward()
    optimizer.step(1e-2)
    optimizer.zeroGrad()
    return loss
  })
  const x = tensor([1, 2])
  step(x).dispose()
  const loss = w.mul(w).sum()
  step(x).dispose()
  assert.match(
    staleBy(() => loss.backward()),
    /mul\.backward: w, float32 \[2\] was changed by trainStep after/,
  )
  step.dispose()
  optimizer.dispose()
})

test('parameters that move to another arena take their captured steps along', async () => {
  const w = leaf([2, 3])
  const first = new AdamW([['w', w]])
  const double = capture((x: Tensor) => noGrad(() => w.mul(x)))
  const x = tensor([2, 2])
  assert.equal([...(await double(x).data())], [4, 6])
  first.dispose()
  const second = new AdamW([['w', w]])
  w.write(Float32Array.of(10, 20))
  assert.equal([...(await double(x).data())], [20, 40])
  second.dispose()
  double.dispose()
})

run()
