import { equal, is, ok, throws } from 'uvu/assert'
import { ArgumentError, capture, requestDevice, type Tensor, tensor, UserError } from '../../engine/index.ts'
import { AdamW, Ema } from '../../train/index.ts'
import { leaf, normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('averages of weights')

const SIZES = [7, 200, 64]
const named = (seed: number): [string, Tensor][] => SIZES.map((size, i) => [`p${i}`, leaf(normals(size, seed + i), [size])])
const read = async (tensors: Iterable<Tensor>) =>
  (await Promise.all(Array.from(tensors, (t) => t.data()))).map((data) => [...data])

test('follows float64, captured as well, and shares the memory of an optimizer', async () => {
  const parameters = named(1)
  const ema = new Ema(parameters, { decay: 0.9 })
  const optimizer = new AdamW(parameters)
  const want = (await read(parameters.map(([, t]) => t))).map((data) => Float64Array.from(data))
  const step = (x: Tensor) => {
    for (const [, t] of parameters) t.mul(x).tanh().sum().backward()
    optimizer.step(1e-2).dispose()
    optimizer.zeroGrad()
    ema.update()
  }
  const captured = capture((x: Tensor) => {
    step(x)
    return optimizer.lossScale.value.detach()
  })
  for (let i = 0; i < 6; i++) {
    if (i === 3) ema.decay = 0.5
    ;(i % 2 === 0 ? step : captured)(tensor([1 + i]))
    const values = await read(parameters.map(([, t]) => t))
    values.forEach((data, k) => {
      for (const [at, value] of data.entries()) want[k]![at]! += (i < 3 ? 0.1 : 0.5) * (value - want[k]![at]!)
    })
    for (const [k, t] of Object.values(ema.stateDict()).entries())
      assertClose(await t.data(), want[k]!, 2e-6, `step ${i}, ${k}`)
  }
  equal(Object.keys(ema.stateDict()), ['p0', 'p1', 'p2'])
  captured.dispose()
  optimizer.dispose()
  ema.dispose()
  ema.dispose()
  throws(() => ema.update(), /Ema\.update: the averages were disposed/)
})

test('swaps averages in and out to the bit, all parameters or some that others lie between', async () => {
  const parameters = named(1)
  const optimizer = new AdamW(parameters)
  for (const some of [parameters, [parameters[0]!, parameters[2]!]]) {
    const ema = new Ema(some, { decay: 0.9 })
    for (const [, t] of parameters) t.grad = tensor(new Float32Array(t.size).fill(1))
    optimizer.step(1e-2)
    ema.update()
    const all = parameters.map(([, t]) => t)
    const [values, averages] = [await read(all), await read(Object.values(ema.stateDict()))]
    ema.swap()
    ok(ema.swapped)
    const between = some.length < parameters.length ? [values[1]!] : []
    const [first, ...rest] = averages
    equal(await read(all), between.length > 0 ? [first, between[0], ...rest] : averages)
    throws(() => ema.update(), /Ema\.update: the parameters hold the averages; call swap\(\) first/)
    throws(() => ema.stateDict(), /call swap\(\) first/)
    ema.swap()
    equal(await read(all), values)
    equal(await read(Object.values(ema.stateDict())), averages)
    equal(await ema.evaluate(async () => (await all[0]!.data())[0]), averages[0]![0])
    await ema.evaluate(() => Promise.reject(new Error('no'))).catch(() => {})
    is(ema.swapped, false)
    equal(await read(all), values)
    throws(() => capture(() => ema.swap())(), /Ema\.swap: cannot be called inside capture\(\)/)
    ema.dispose()
  }
  optimizer.dispose()
})

test('saved and loaded; what does not fit is refused and changes nothing', async () => {
  const [ema, other] = [new Ema(named(1)), new Ema(named(10))]
  const values = await read(Object.values(ema.stateDict()))
  const entries = new Map(
    values.map((data, i) => [`p${i}`, { dtype: 'F32', shape: [data.length], data: Float32Array.from(data) }]),
  )
  other.loadStateDict(entries)
  equal(await read(Object.values(other.stateDict())), values)
  const third = new Ema(named(20))
  const before = await read(Object.values(third.stateDict()))
  entries.delete('p1')
  throws(
    () => third.loadStateDict(entries),
    (error: unknown) =>
      error instanceof UserError && /^Ema\.loadStateDict: the averages do not fit: missing p1; use/.test(error.message),
  )
  equal(await read(Object.values(third.stateDict())), before)
  third.loadStateDict(ema.stateDict())
  equal(await read(Object.values(third.stateDict())), values)
  for (const decay of [-0.1, 1.5, Number.NaN, '0.9'])
    throws(
      () => new Ema(named(1), { decay: decay as number }),
      (error: unknown) => error instanceof ArgumentError && / as decay, takes a number from 0 to 1/.test(error.message),
    )
  throws(() => new Ema(named(1), { dcay: 1 } as never), /unknown option "dcay" \(did you mean "decay"\?\)/)
  for (const each of [ema, other, third]) each.dispose()
})

test('ends', () => device.destroy())
run()
