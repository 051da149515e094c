import { throws } from 'uvu/assert'
import { holdArenas } from '../../engine/autograd/arena.ts'
import { ArgumentError } from '../../engine/base/errors.ts'
import { requestDevice } from '../../engine/device/defaultDevice.ts'
import { adamWStep } from '../../engine/ops/adamW.ts'
import { zeros } from '../../engine/ops/create.ts'
import { adamWRule, gradSquares, INACTIVE, setUpStep } from '../../engine/ops/optimizerStep.ts'
import { tensor } from '../../engine/tensor/fromValues.ts'
import type { Tensor } from '../../engine/tensor/tensor.ts'
import { assertShapeError, leaf, normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('AdamW')

const LR = 1e-2
const DECAY = 0.05
const BETAS = [0.9, 0.999] as const
const EPS = 1e-8
const LIMITS = { maxNorm: 1, growthInterval: 0 }

/** Makes an arena of parameters, their moments, and a function that steps over them. */
function optimizer(values: readonly Float32Array[], scale = 1) {
  const parameters = values.map((data) => leaf(data, [data.length]))
  const arena = holdArenas('test', parameters)[0]!
  const blockSlot = arena.blocks(0, values.length - 1, (parameter) => parameters.indexOf(parameter))
  const [m, v] = [zeros([arena.length]), zeros([arena.length])]
  const steps = zeros([values.length], { dtype: 'int32' })
  const lossScale = tensor([scale, 0])
  const write = (flat: Tensor, slot: number, data: ArrayLike<number>) => {
    arena.slot(flat, slot).write(Float32Array.from(data))
  }
  const tensorsWith = (active: readonly boolean[]) => {
    const rules = tensor(active.flatMap((isActive) => (isActive ? adamWRule(LR, DECAY, BETAS) : INACTIVE)))
    const { values: params, gradients: grads } = arena
    const arenas = [{ params, grads, m, v, blockSlot }]
    return { arenas, rules, squares: gradSquares(arenas, rules), steps, lossScale }
  }
  return {
    arena,
    blockSlot,
    m,
    v,
    steps,
    lossScale,
    tensorsWith,
    setGradient: (slot: number, data: ArrayLike<number>) => write(arena.gradients, slot, data),
    /** Makes a step. @returns the gradients' norm */
    step: (active = values.map(() => true), limits = LIMITS): Tensor => {
      const { arenas, ...tensors } = tensorsWith(active)
      const { slots, norm } = setUpStep(tensors, limits)
      for (const arena of arenas) adamWStep(arena, slots, { betas: BETAS, eps: EPS })
      return norm
    },
  }
}

test('adamW.clipped as PyTorch, step by step', async () => {
  const stored = (key: string) => golden.get(`adamW.clipped.${key}`)!
  const [steps, size] = stored('gradients').shape as [number, number]
  const state = optimizer([Float32Array.from(stored('parameter').data)])
  for (let step = 0; step < steps; step++) {
    const row = (key: string) => stored(key).data.subarray(step * size, (step + 1) * size)
    state.setGradient(0, row('gradients'))
    const norm = state.step()
    assertClose(await norm.data(), [stored('gradNorms').data[step]!], 1e-6, `norm of step ${step}`)
    assertClose(await state.arena.parameters[0]!.data(), row('output'), 1e-6, `parameter after step ${step}`)
    assertClose(await state.arena.slot(state.m, 0).data(), row('m'), 1e-6, `first moment after step ${step}`)
    assertClose(await state.arena.slot(state.v, 0).data(), row('v'), 1e-6, `second moment after step ${step}`)
  }
})

/** The steps of one parameter in float64. */
function reference(values: Float64Array, gradients: readonly Float32Array[], scales: readonly number[]): Float64Array {
  const [beta1, beta2] = BETAS
  const [m, v] = [new Float64Array(values.length), new Float64Array(values.length)]
  gradients.forEach((gradient, i) => {
    const [stepSize, correction] = [LR / (1 - beta1 ** (i + 1)), 1 / Math.sqrt(1 - beta2 ** (i + 1))]
    gradient.forEach((raw, at) => {
      const g = raw * scales[i]!
      m[at] = beta1 * m[at]! + (1 - beta1) * g
      v[at] = beta2 * v[at]! + (1 - beta2) * g * g
      values[at] = values[at]! * (1 - LR * DECAY) - (stepSize * m[at]!) / (Math.sqrt(v[at]!) * correction + EPS)
    })
  })
  return values
}

test('slots of many sizes; an inactive one stays as it is, moments and padding too', async () => {
  const sizes = [1, 7, 31, 33, 64, 129, 257, 1025]
  const values = sizes.map((size, i) => normals(size, i))
  const gradients = [1, 2, 3].map((step) => sizes.map((size, i) => normals(size, 100 * step + i)))
  const state = optimizer(values)
  const inactive = 3
  const scales: number[] = []
  for (const [step, list] of gradients.entries()) {
    list.forEach((gradient, slot) => {
      state.setGradient(slot, slot === inactive ? new Float32Array(gradient.length).fill(Number.NaN) : gradient)
    })
    const stepNorm = state.step(sizes.map((_, slot) => slot !== inactive))
    const squares = list.flatMap((gradient, slot) => (slot === inactive ? [] : Array.from(gradient, (value) => value * value)))
    const norm = Math.sqrt(squares.reduce((sum, value) => sum + value, 0))
    assertClose(await stepNorm.data(), [norm], 1e-6, `norm of step ${step}`)
    scales.push(Math.min(1, LIMITS.maxNorm / (norm + 1e-6)))
  }
  for (const [slot, parameter] of state.arena.parameters.entries()) {
    const start = Float64Array.from(values[slot]!)
    const slotGradients = gradients.map((list) => list[slot]!)
    const want = slot === inactive ? start : reference(start, slotGradients, scales)
    assertClose(await parameter.data(), want, 1e-6, `slot ${slot}`)
  }
  const counts = sizes.map((_, slot) => (slot === inactive ? 0 : 3))
  if (`${await state.steps.data()}` !== `${counts}`) throw new Error(`step counts ${await state.steps.data()}`)
  const flats = { values: state.arena.values, m: state.m, v: state.v }
  const blocks = await state.blockSlot.data()
  for (const [name, flat] of Object.entries(flats)) {
    const data = await flat.data()
    let offset = 0
    for (const [slot, size] of sizes.entries()) {
      const end = offset + Math.ceil(size / 128) * 128
      if (blocks[offset / 64] !== slot) throw new Error(`block ${offset / 64} is of slot ${blocks[offset / 64]}`)
      if (data.subarray(offset + size, end).some((value) => value !== 0)) throw new Error(`${name}: padding of slot ${slot}`)
      if (slot === inactive && name !== 'values' && data.subarray(offset, end).some((value) => value !== 0)) {
        throw new Error(`${name}: the inactive slot moved`)
      }
      offset = end
    }
  }
})

test('without clipping the gradient is taken as it is', async () => {
  for (const maxNorm of [0, Number.POSITIVE_INFINITY]) {
    const [value, gradient] = [normals(100, 1), normals(100, 2).map((g) => 50 * g)]
    const state = optimizer([value])
    state.setGradient(0, gradient)
    state.step([true], { ...LIMITS, maxNorm })
    assertClose(
      await state.arena.slot(state.m, 0).data(),
      Float64Array.from(gradient, (g) => 0.1 * g),
      1e-6,
      'first moment',
    )
    const want = reference(Float64Array.from(value), [gradient], [1])
    assertClose(await state.arena.parameters[0]!.data(), want, 1e-6, `maxNorm ${maxNorm}`)
  }
})

test('a gradient that is not finite changes nothing, step counts included, and the norm shows it', async () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 3e38]) {
    const values = [normals(100, 1), normals(10, 2)]
    const state = optimizer(values)
    const all = () => Promise.all([state.arena.values, state.m, state.v, state.steps, state.lossScale].map((t) => t.data()))
    for (const [slot, data] of values.entries()) state.setGradient(slot, data)
    state.step()
    const before = await all()
    state.setGradient(1, new Float32Array(10).fill(bad))
    const norm = await state.step().item()
    if (Number.isFinite(norm)) throw new Error(`the norm of ${bad} is ${norm}`)
    if (`${before}` !== `${await all()}`) throw new Error(`a gradient of ${bad} changed the state`)
  }
})

test('gradients of a scaled loss give the same step, and the scale halves and doubles', async () => {
  const [value, gradients] = [normals(300, 1), [normals(300, 2), normals(300, 3), normals(300, 4), normals(300, 5)]]
  const growing = { ...LIMITS, growthInterval: 3 }
  const [plain, scaled] = [optimizer([value]), optimizer([value], 1024)]
  let scale = 1024
  for (const [i, gradient] of gradients.entries()) {
    plain.setGradient(0, gradient)
    scaled.setGradient(
      0,
      gradient.map((g) => scale * g),
    )
    const norms = [plain.step(), scaled.step([true], growing)]
    if (`${await norms[0]!.data()}` !== `${await norms[1]!.data()}`) throw new Error(`norms of step ${i}`)
    if (i === 2) scale = 2048
    const [now, steady] = await scaled.lossScale.data()
    if (now !== scale || steady !== (i + 1) % 3) throw new Error(`after step ${i}: scale ${now}, ${steady} finite steps`)
    if (i !== 1) continue
    const [v, s] = [await scaled.v.data(), await scaled.steps.data()]
    scaled.setGradient(0, new Float32Array(300).fill(Number.POSITIVE_INFINITY))
    scaled.step([true], growing)
    const [halved, since] = await scaled.lossScale.data()
    if (halved !== 512 || since !== 0) throw new Error(`after overflow: scale ${halved}, ${since} finite steps`)
    if (`${v}${s}` !== `${await scaled.v.data()}${await scaled.steps.data()}`) throw new Error('the step was not left out')
    // The overflow leaves no trace: the next step doubles the scale.
    scaled.lossScale.write(Float32Array.of(1024, 2))
  }
  // Multiplying by powers of two does not round.
  if (`${await plain.arena.values.data()}` !== `${await scaled.arena.values.data()}`) throw new Error('other values')
})

test('the norm of a million gradients', async () => {
  const gradient = normals(1_000_003, 5).map((value) => value + 2)
  const state = optimizer([new Float32Array(gradient.length)])
  state.setGradient(0, gradient)
  const norm = state.step()
  let squares = 0
  for (const value of gradient) squares += value * value
  assertClose(await norm.data(), [Math.sqrt(squares)], 1e-6, 'norm')
})

test('hyperparameters that would write NaN are refused, and nothing changes', async () => {
  const state = optimizer([normals(100, 1)])
  state.setGradient(0, normals(100, 2))
  const { arenas, ...tensors } = state.tensorsWith([true])
  const before = `${await state.arena.values.data()}${await state.m.data()}${await state.steps.data()}`
  const step = (hyperparameters: object) => () =>
    adamWStep(arenas[0]!, zeros([1, 4]), { betas: BETAS, eps: EPS, ...hyperparameters })
  const setUp = (limits: object) => () => setUpStep(tensors, { ...LIMITS, ...limits })
  const bad: [make: () => unknown, message: string][] = [
    ...[1, -0.5, Number.NaN].flatMap((beta): [() => unknown, string][] => [
      [step({ betas: [beta, 0.9] }), `adamWStep: got ${beta} as beta1, takes `],
      [step({ betas: [0.9, beta] }), `adamWStep: got ${beta} as beta2, takes `],
    ]),
    ...[-1, Number.NaN, Number.POSITIVE_INFINITY].map((eps): [() => unknown, string] => [
      step({ eps }),
      `adamWStep: got ${eps} as eps, takes `,
    ]),
    ...[-1, Number.NaN].map((maxNorm): [() => unknown, string] => [
      setUp({ maxNorm }),
      `setUpStep: got ${maxNorm} as maxNorm, takes `,
    ]),
    ...[-1, 0.5, Number.NaN].map((growthInterval): [() => unknown, string] => [
      setUp({ growthInterval }),
      `setUpStep: got ${growthInterval} as growthInterval, takes `,
    ]),
  ]
  for (const [make, message] of bad)
    throws(make, (error: unknown) => error instanceof ArgumentError && error.message.startsWith(message), message)
  const after = `${await state.arena.values.data()}${await state.m.data()}${await state.steps.data()}`
  if (after !== before) throw new Error('something was written')
})

test('a tiny maxNorm clips, rather than being taken for 0', async () => {
  const state = optimizer([new Float32Array(4)])
  state.setGradient(0, [1, 2, 3, 4])
  state.step([true], { ...LIMITS, maxNorm: 1e-44 })
  const m = await state.arena.slot(state.m, 0).data()
  if (!m.every((value) => Math.abs(value) <= 1e-30)) throw new Error(`moments ${m}`)
})

test('refuses tensors of different layouts', () => {
  const state = optimizer([normals(100, 1)])
  const { arenas, ...tensors } = state.tensorsWith([true])
  const [arena] = arenas
  const other = { ...arena!, m: zeros([64]) }
  assertShapeError(() => adamWStep(other, zeros([1, 4]), { betas: BETAS, eps: EPS }), 'adamWStep: got float32 [64]')
  assertShapeError(() => setUpStep({ ...tensors, rules: zeros([64]) }, LIMITS), 'setUpStep: got float32 [64]')
  assertShapeError(() => gradSquares([{ ...arena!, grads: zeros([192]) }], tensors.rules), 'gradSquares: got float32 [192]')
})

test('ends', () => device.destroy())
run()
