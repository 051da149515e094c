import { equal, is, throws } from 'uvu/assert'
import {
  ArgumentError,
  capture,
  type Device,
  OutOfMemoryError,
  requestDevice,
  setDefaultDevice,
  type Tensor,
  tensor,
  zeros,
} from '../../engine/index.ts'
import { AdamW, type AdamWOptions } from '../../train/optim/adamW.ts'
import { LossScale } from '../../train/optim/lossScale.ts'
import { schedule } from '../../train/optim/schedule.ts'
import { leaf } from '../harness/checkOp.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const other = await requestDevice()
setDefaultDevice(device)
const { test, run } = suite('arguments of optimizers')

/** Fails unless `fn` throws an ArgumentError of one line that contains all parts. */
function refuses(fn: () => unknown, ...parts: string[]): void {
  throws(
    fn,
    (error: unknown) =>
      error instanceof ArgumentError && !error.message.includes('\n') && parts.every((part) => error.message.includes(part)),
    parts.join(' … '),
  )
}

const on = (which: Device) => ({ device: which, requiresGrad: true })
const fresh = () => zeros([3], on(device))

test('parameters: tensors alone, with names, of a generator, twice', async () => {
  const [a, b] = [fresh(), fresh()]
  const alone = new AdamW([a, b])
  equal(Object.keys(await alone.steps()), ['0', '1'])
  alone.dispose()
  const mixed = new AdamW(
    new Map([
      ['a', a],
      ['b', b],
    ]),
  )
  equal(Object.keys(await mixed.steps()), ['a', 'b'])
  mixed.dispose()
  const twice = new AdamW([['first', a], ['second', b], ['third', a], b])
  equal([Object.keys(await twice.steps()), twice.parameters.length], [['first', 'second'], 2])
  twice.dispose()
})

test('parameters that no optimizer takes', () => {
  const w = fresh()
  const make = (parameters: unknown) => () => new AdamW(parameters as Tensor[])
  const takes = 'takes parameters, such as model.namedParameters()'
  refuses(make(undefined), 'AdamW: got undefined', takes)
  refuses(make(w), 'AdamW: got a tensor float32 [3]', takes)
  refuses(make({ w }), 'AdamW: got an object', takes)
  refuses(make('w'), 'AdamW: got "w"', takes)
  refuses(make([]), 'AdamW: got no parameters')
  refuses(make([[w, 'w']]), 'as parameter 0', takes)
  refuses(make([w, undefined]), 'AdamW: got undefined as parameter 1', takes)
  refuses(
    make([
      ['w', w],
      ['w', fresh()],
    ]),
    'two parameters are called "w"; give each a name of its own',
  )
  refuses(make([['n', zeros([3], { dtype: 'int32', device })]]), 'parameter n is int32 [3], takes at least one float32 leaf')
  refuses(make([['made', w.mul(2)]]), 'parameter made is what mul made', 'detach() it')
  refuses(make([w, zeros([3], on(other))]), 'parameter 1 is on another device')
  const gone = fresh()
  gone.dispose()
  refuses(make([gone]), 'AdamW: a tensor of shape [3] was used after it was disposed')
  const optimizer = new AdamW([w])
  refuses(make([w.detach()]), 'parameter 0 is a view of another tensor, which would not change with it')
  const whole = zeros([4, 3], { device })
  refuses(make([whole.slice([[1, 2]])]), 'is a view of another tensor')
  refuses(make([whole, whole.reshape([3, 4])]), 'parameter 1 is a view of another tensor')
  throws(
    () => capture(() => new AdamW([fresh()]))(),
    /AdamW: cannot be made inside capture\(\), since it moves parameters; make it before/,
  )
  optimizer.dispose()
  is(w.disposed, false)
})

test('a part of a tensor that nobody else has may be a parameter', async () => {
  const whole = tensor([1, 2, 3, 4], { device })
  const part = whole.slice([[1, 3]])
  whole.dispose()
  part.requiresGrad = true
  const optimizer = new AdamW([part])
  equal([...(await part.data())], [2, 3])
  optimizer.dispose()
})

test('a parameter that no binding holds is named with what one holds', () => {
  const limit = device.bindingBytes
  device.bindingBytes = 1024
  try {
    throws(
      () => new AdamW([fresh(), zeros([257], on(device))]),
      (error: unknown) =>
        error instanceof OutOfMemoryError &&
        /of shape \[257\] takes 1028 bytes, one binding of this device holds 1024/.test(error.message),
    )
  } finally {
    device.bindingBytes = limit
  }
})

test('options of AdamW', () => {
  const w = fresh()
  const make = (options: Record<string, unknown>) => () => new AdamW([w], options as AdamWOptions)
  refuses(make({ weight_decay: 0.1 }), 'AdamW: unknown option "weight_decay" (did you mean "weightDecay"?)')
  refuses(make({ lr: 1e-3 }), 'unknown option "lr"', 'betas')
  refuses(() => new AdamW([w], 1e-3 as AdamWOptions), 'AdamW: got 0.001 as options')
  for (const beta of [1, 1.5, -0.1, Number.NaN, '0.9', undefined]) {
    refuses(make({ betas: [beta, 0.999] }), 'as beta1, takes a number of at least 0 and below 1')
    refuses(make({ betas: [0.9, beta] }), 'as beta2, takes a number of at least 0 and below 1')
  }
  for (const betas of [0.9, [0.9], [0.9, 0.99, 0.999], null])
    refuses(make({ betas }), 'as betas, takes two numbers, such as [0.9, 0.999]')
  for (const eps of [-1, Number.NaN, Number.POSITIVE_INFINITY, '1e-8']) refuses(make({ eps }), 'as eps, takes a number from 0')
  for (const weightDecay of [-0.1, Number.NaN, Number.POSITIVE_INFINITY])
    refuses(make({ weightDecay }), 'as weightDecay, takes a number from 0')
  refuses(make({ decays: true }), 'as decays, takes a function')
  refuses(make({ lossScale: 65536 }), 'AdamW: got 65536 as lossScale, takes a LossScale')
  const scale = new LossScale({ device })
  const first = new AdamW([w], { lossScale: scale })
  refuses(make({ lossScale: scale }), 'the loss scale belongs to another optimizer')
  first.dispose()
  refuses(make({ lossScale: scale }), 'belongs to another optimizer')
  refuses(make({ lossScale: new LossScale({ device: other }) }), 'the loss scale is on another device')
  // None of these optimizers has taken the parameter.
  is(w.gradSlot, undefined)
})

test('a learning rate and a norm that are no sound numbers change nothing, in captured steps neither', async () => {
  const w = leaf([1, 2, 3], [3])
  const optimizer = new AdamW([w])
  const takes = 'as lr, takes a number from 0 to 1e+32'
  for (const lr of [Number.NaN, Number.POSITIVE_INFINITY, -1e-3, 1e39, '1e-3', undefined]) {
    refuses(() => optimizer.step(lr as number), takes)
    refuses(() => {
      optimizer.lr = lr as number
    }, takes)
  }
  for (const maxNorm of [Number.NaN, -1, '1'])
    refuses(() => optimizer.step(1e-3, maxNorm as number), 'as maxNorm, takes a number of at least 0')
  optimizer.lr = 1e-3
  const step = capture(() => {
    w.sum().backward()
    optimizer.step(optimizer.lr)
    optimizer.zeroGrad()
  })
  step()
  const before = [...(await w.data())]
  refuses(() => {
    optimizer.lr = Number.NaN
  }, takes)
  is(optimizer.lr, 1e-3)
  equal([...(await w.data())], before)
  step.dispose()
  refuses(() => optimizer.setSteps({ 0: -1 }), 'AdamW.setSteps: got -1 as 0, takes a whole number of at least 0')
  refuses(() => optimizer.setSteps({ 0: 0.5 }), 'got 0.5')
  optimizer.dispose()
})

test('loss scales', () => {
  const make = (options: object) => () => new LossScale({ device, ...options })
  for (const initial of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 127, 2 ** -127, '1']) {
    const state = typeof initial === 'number' ? [initial, { scale: initial, steady: 0 }] : [{ scale: initial, steady: 0 }]
    for (const value of state) refuses(make({ initial: value }), 'as scale, takes a number from 2^-126 to 2^126')
  }
  refuses(make({ initial: null }), 'got undefined as scale')
  refuses(make({ initial: { scale: 1, steady: -1 } }), 'as steady, takes a whole number')
  for (const growthInterval of [-1, 0.5, Number.NaN, 2 ** 25])
    refuses(make({ growthInterval }), 'as growthInterval, takes a whole number')
  refuses(make({ growth_interval: 1 }), '(did you mean "growthInterval"?)')
  const scale = new LossScale({ device })
  refuses(() => scale.restore({ scale: 0, steady: 0 }), 'LossScale.restore: got 0 as scale')
})

test('schedules', () => {
  const sound = { lr: 1, warmup: 2, total: 10 }
  const make =
    (options: object, name = 'cosine') =>
    () =>
      schedule(name as 'cosine', { ...sound, ...options })
  refuses(make({}, 'sine'), 'schedule: got "sine" as name, takes "cosine" or "linear" or "step" or "oneCycle" or "constant"')
  refuses(make({ gamma: 0.5 }), 'schedule: got 0.5 as gamma, takes no such option for "cosine"')
  refuses(make({ gamma: 2 }, 'step'), 'as gamma, takes a number from 0 to 1')
  refuses(make({ stepSize: 0 }, 'step'), 'as stepSize, takes a whole number of at least 1')
  refuses(make({ initialFraction: -1 }, 'oneCycle'), 'as initialFraction, takes a number from 0 to 1')
  refuses(make({ warmUp: 3 }), 'unknown option "warmUp" (did you mean "warmup"?)')
  for (const lr of [Number.NaN, -1, Number.POSITIVE_INFINITY]) refuses(make({ lr }), 'as lr, takes')
  for (const warmup of [Number.NaN, -1, 1.5]) refuses(make({ warmup }), 'as warmup, takes a whole number of at least 0')
  for (const total of [Number.NaN, -1, Number.POSITIVE_INFINITY]) refuses(make({ total }), 'as total, takes')
  for (const finalFraction of [Number.NaN, -1, 2])
    refuses(make({ finalFraction }), 'as finalFraction, takes a number from 0 to 1')
  const rates = (options: object) => Array.from({ length: 12 }, (_, step) => make(options)()(step))
  for (const options of [{}, { warmup: 0 }, { warmup: 20 }, { total: 0 }, { total: 2 }]) {
    for (const rate of rates(options)) is(rate >= 0 && rate <= 1, true, `${rate}`)
  }
  equal(rates({ warmup: 20 }).slice(0, 3), [0.05, 0.1, 0.15])
})

test('ends', () => {
  device.destroy()
  other.destroy()
})
run()
