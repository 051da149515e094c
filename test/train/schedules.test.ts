import { is } from 'uvu/assert'
import { type ScheduleName, type ScheduleOptions, schedule } from '../../train/optim/schedule.ts'
import { assertClose } from '../harness/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('schedules')

const TOTAL = 20
const rates = (name: ScheduleName, options: Partial<ScheduleOptions> = {}): number[] =>
  Array.from({ length: TOTAL }, (_, step) => schedule(name, { lr: 0.5, warmup: 4, total: TOTAL, ...options })(step))

/** Rates of torch.optim.lr_scheduler.OneCycleLR(max_lr=0.5, total_steps=20). */
const ONE_CYCLE = [
  ...[0.02, 0.0658359214, 0.185835921, 0.334164079, 0.454164079, 0.5, 0.493732003, 0.475242316, 0.445458089, 0.405872827],
  ...[0.358471501, 0.305631011, 0.250001, 0.194370989, 0.141530499, 0.094129173, 0.0545439112, 0.024759684, 0.00626999688],
  2e-6,
]

test('step 0 is the first of the warm-up, whose last step reaches lr', () => {
  for (const name of ['cosine', 'linear', 'step', 'constant'] as const) {
    assertClose(rates(name).slice(0, 5), [0.125, 0.25, 0.375, 0.5, 0.5], 1e-12, name)
    is(rates(name, { warmup: 0 })[0], 0.5, name)
  }
})

test('the last step, and the end at the step after it', () => {
  const last = (name: ScheduleName, options: Partial<ScheduleOptions> = {}) => rates(name, options).at(-1)!
  const left = 1 / 16
  const cosine = 0.5 * (0.01 + 0.99 * 0.5 * (1 + Math.cos(Math.PI * (1 - left))))
  const expected: [ScheduleName, Partial<ScheduleOptions>, number][] = [
    ['cosine', {}, cosine],
    ['linear', {}, 0.5 * (0.01 + 0.99 * left)],
    ['linear', { finalFraction: 0 }, 0.5 * left],
    ['step', {}, 0.005],
    ['step', { stepSize: 4, gamma: 0.5 }, 0.5 * 0.5 ** 3],
    ['oneCycle', { finalFraction: 0.5 }, 0.25],
    ['constant', {}, 0.5],
  ]
  for (const [name, options, want] of expected) assertClose([last(name, options)], [want], 1e-12, name)
  for (const name of ['cosine', 'linear'] as const)
    for (const step of [TOTAL, TOTAL + 5])
      assertClose([schedule(name, { lr: 0.5, warmup: 4, total: TOTAL })(step)], [0.005], 1e-12, name)
})

test('step lowers the rate every stepSize steps after the warm-up', () => {
  const want = Array.from({ length: TOTAL }, (_, step) => (step < 4 ? (step + 1) / 8 : 0.5 * 0.1 ** Math.floor((step - 4) / 6)))
  assertClose(rates('step'), want, 1e-12, 'step')
})

test('oneCycle as PyTorch', () => {
  assertClose(rates('oneCycle', { warmup: 6 }), ONE_CYCLE, 1e-8, 'oneCycle')
  is(rates('oneCycle', { warmup: 0 })[0], 0.5)
  is(rates('oneCycle', { warmup: 6, initialFraction: 0 })[0], 0)
  for (const options of [{ total: 0 }, { total: 3 }, { warmup: 30 }, { warmup: 1 }])
    for (const rate of rates('oneCycle', options)) is(rate >= 0 && rate <= 0.5, true, JSON.stringify(options))
})

run()
