import { ParameterArena } from '../../engine/arena.ts'
import { requestDevice } from '../../engine/device.ts'
import { type AdamWHyperparameters, adamWStep, gradNorm } from '../../engine/ops/adamW.ts'
import { zeros } from '../../engine/ops/create.ts'
import { type Tensor, tensor } from '../../engine/tensor.ts'
import { assertShapeError, leaf, normals } from '../harness/checkOp.ts'
import { assertClose } from '../harness/errors.ts'
import { loadGolden } from '../harness/golden.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const golden = await loadGolden('ops')
const { test, run } = suite('AdamW')

const HYPERPARAMETERS: AdamWHyperparameters = { beta1: 0.9, beta2: 0.999, eps: 1e-8, maxNorm: 1 }
const LR = 1e-2
const DECAY = 0.05

/** A row of the slot table for step t of a slot. */
function slotRow(t: number, active = true): number[] {
  const { beta1, beta2 } = HYPERPARAMETERS
  return [LR / (1 - beta1 ** t), 1 / Math.sqrt(1 - beta2 ** t), LR * DECAY, Number(active)]
}

/** Parameters of these sizes in an arena, moments of zeros, and a step over them. */
function optimizer(values: readonly Float32Array[]) {
  const arena = new ParameterArena(values.map((data) => leaf(data, [data.length])))
  const [m, v] = [zeros([arena.length]), zeros([arena.length])]
  const norm = zeros([1])
  const write = (flat: Tensor, slot: number, data: ArrayLike<number>) => {
    arena.slot(flat, slot).write(Float32Array.from(data))
  }
  return {
    arena,
    m,
    v,
    norm,
    setGradient: (slot: number, data: ArrayLike<number>) => write(arena.gradients, slot, data),
    step(rows: readonly number[][], hyperparameters = HYPERPARAMETERS) {
      const slots = tensor(Float32Array.from(rows.flat()))
      gradNorm(arena.gradients, arena.blockSlot, slots, norm)
      const flats = { params: arena.values, grads: arena.gradients, m, v, blockSlot: arena.blockSlot, slots, norm }
      adamWStep(flats, hyperparameters)
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
    state.step([slotRow(step + 1)])
    assertClose(await state.norm.data(), [stored('gradNorms').data[step]!], 1e-6, `norm of step ${step}`)
    assertClose(await state.arena.parameters[0]!.data(), row('output'), 1e-6, `parameter after step ${step}`)
    assertClose(await state.arena.slot(state.m, 0).data(), row('m'), 1e-6, `first moment after step ${step}`)
    assertClose(await state.arena.slot(state.v, 0).data(), row('v'), 1e-6, `second moment after step ${step}`)
  }
})

/** The same in float64, one parameter. */
function reference(values: Float64Array, gradients: readonly Float32Array[], scales: readonly number[]): Float64Array {
  const { beta1, beta2, eps } = HYPERPARAMETERS
  const [m, v] = [new Float64Array(values.length), new Float64Array(values.length)]
  gradients.forEach((gradient, i) => {
    const [stepSize, correction, decay] = slotRow(i + 1) as [number, number, number]
    gradient.forEach((raw, at) => {
      const g = raw * scales[i]!
      m[at] = beta1 * m[at]! + (1 - beta1) * g
      v[at] = beta2 * v[at]! + (1 - beta2) * g * g
      values[at] = values[at]! * (1 - decay) - (stepSize * m[at]!) / (Math.sqrt(v[at]!) * correction + eps)
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
    state.step(sizes.map((_, slot) => slotRow(step + 1, slot !== inactive)))
    const squares = list.flatMap((gradient, slot) => (slot === inactive ? [] : Array.from(gradient, (value) => value * value)))
    const norm = Math.sqrt(squares.reduce((sum, value) => sum + value, 0))
    assertClose(await state.norm.data(), [norm], 1e-6, `norm of step ${step}`)
    scales.push(Math.min(1, HYPERPARAMETERS.maxNorm / (norm + 1e-6)))
  }
  for (const [slot, parameter] of state.arena.parameters.entries()) {
    const start = Float64Array.from(values[slot]!)
    const given = gradients.map((list) => list[slot]!)
    const want = slot === inactive ? start : reference(start, given, scales)
    assertClose(await parameter.data(), want, 1e-6, `slot ${slot}`)
  }
  const flats = { values: state.arena.values, m: state.m, v: state.v }
  const blocks = await state.arena.blockSlot.data()
  for (const [name, flat] of Object.entries(flats)) {
    const data = await flat.data()
    let offset = 0
    for (const [slot, size] of sizes.entries()) {
      const end = offset + Math.ceil(size / 64) * 64
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
  for (const maxNorm of [0, -1, Number.POSITIVE_INFINITY]) {
    const [value, gradient] = [normals(100, 1), normals(100, 2).map((g) => 50 * g)]
    const state = optimizer([value])
    state.setGradient(0, gradient)
    state.step([slotRow(1)], { ...HYPERPARAMETERS, maxNorm })
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

test('a gradient that is not finite changes nothing, and the norm shows it', async () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 3e38]) {
    const values = [normals(100, 1), normals(10, 2)]
    const state = optimizer(values)
    for (const [slot, data] of values.entries()) state.setGradient(slot, data)
    state.step([slotRow(1), slotRow(1)])
    const before = await Promise.all([state.arena.values, state.m, state.v].map((flat) => flat.data()))
    state.setGradient(1, new Float32Array(10).fill(bad))
    state.step([slotRow(2), slotRow(2)])
    const after = await Promise.all([state.arena.values, state.m, state.v].map((flat) => flat.data()))
    if (Number.isFinite(await state.norm.item())) throw new Error(`the norm of ${bad} is ${await state.norm.item()}`)
    if (`${before}` !== `${after}`) throw new Error(`a gradient of ${bad} changed the state`)
  }
})

test('the norm of a million gradients', async () => {
  const gradient = normals(1_000_003, 5).map((value) => value + 2)
  const state = optimizer([new Float32Array(gradient.length)])
  state.setGradient(0, gradient)
  state.step([slotRow(1)])
  let squares = 0
  for (const value of gradient) squares += value * value
  assertClose(await state.norm.data(), [Math.sqrt(squares)], 1e-6, 'norm')
})

test('refuses tensors of different layouts', () => {
  const { arena, m, v, norm } = optimizer([normals(100, 1)])
  const slots = tensor(Float32Array.from(slotRow(1)))
  const flats = { params: arena.values, grads: arena.gradients, m, v, blockSlot: arena.blockSlot, slots, norm }
  assertShapeError(() => adamWStep({ ...flats, m: zeros([64]) }, HYPERPARAMETERS), 'adamWStep: got float32 [64]')
  assertShapeError(() => gradNorm(zeros([192]), arena.blockSlot, slots, norm), 'gradNorm: got float32 [192]')
})

test('ends', () => device.destroy())
run()
