import { equal, is, ok, throws } from 'uvu/assert'
import { crossEntropy, noGrad, requestDevice, scope, type Tensor, tensor, UserError } from '../../engine/index.ts'
import { createModel, Ensemble, MODES, type Mode, ViT } from '../../model/index.ts'
import { AdamW } from '../../train/optim/adamW.ts'
import { decays } from '../../train/optim/groups.ts'
import { predict } from '../../train/predict.ts'
import { makeScheme, optimizerStep } from '../../train/schemes/index.ts'
import { assertClose } from '../harness/errors.ts'
import { normal, testRandom } from '../harness/kernel.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('ensembles')
const device = await requestDevice()
const SHAPE = { imageSize: 12, patchSize: 4, channels: 2, dim: 20, heads: 2, dimHead: 8, mlpDim: 24, classes: 5 }
const ensemble = new Ensemble({ ...SHAPE, members: 3, depth: 2 })
const vits = ensemble.members.map((_, i) => {
  const vit = new ViT({ ...SHAPE, depth: 2 })
  const own = Object.entries(ensemble.stateDict()).flatMap(([name, value]) => {
    const prefix = `members.${i}.`
    return name.startsWith(prefix) ? [[name.slice(prefix.length), value] as const] : []
  })
  vit.loadStateDict(Object.fromEntries(own))
  return vit
})

const B = 4
const random = testRandom(9)
const pixels = Float32Array.from({ length: B * 2 * 12 * 12 }, () => normal(random))
const images = tensor(pixels, { shape: [B, 2, 12, 12] })
const labels = tensor(Int32Array.of(1, 4, 0, 1))

/** Returns values off the tape. */
async function read(fn: () => Tensor): Promise<number[]> {
  const t = scope(() => noGrad(fn))
  const values = [...(await t.data())]
  t.dispose()
  return values
}

/** Returns the gradients of all parameters by name, and clears them. */
async function gradients(model: Ensemble | ViT): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>()
  for (const [name, parameter] of model.namedParameters()) {
    if (!parameter.grad) continue
    found.set(name, [...(await parameter.grad.data())])
    parameter.grad.dispose()
    parameter.grad = undefined
  }
  return found
}

/** The mean over the first k lists, element by element. */
const meanOf = (lists: readonly number[][], k: number) =>
  lists[0]!.map((_, at) => lists.slice(0, k).reduce((sum, list) => sum + list[at]!, 0) / k)

const alone: number[][] = []
for (const vit of vits) alone.push(await read(() => vit.forward(images)))

for (const mode of MODES) {
  test(`${mode}: logits are the mean of what the members give alone, prefix by prefix`, async () => {
    const prefixes = await read(() => ensemble.forwardPrefixes(images, { mode }))
    for (const k of [1, 2, 3]) {
      const expected = meanOf(alone, k)
      assertClose(await read(() => ensemble.forward(images, { branches: k, mode })), expected, 1e-6, `prefix ${k}`)
      assertClose(prefixes.slice((k - 1) * B * 5, k * B * 5), expected, 1e-6, `row ${k}`)
    }
    equal(await read(() => ensemble.memberLogits(images, { mode })), alone.flat())
  })

  test(`${mode}: with independent losses every member gets the gradient that it would get alone`, async () => {
    const [[objective]] = makeScheme('independent', 3, { mode }).passes as [[ReturnType<typeof makeScheme>['passes'][0][0]]]
    const reported = scope(() => {
      const { objective: total, losses } = objective.loss(ensemble, { images, labels, share: 1 })
      total.backward()
      return losses.detach()
    })
    const found = await gradients(ensemble)
    for (const [i, vit] of vits.entries()) {
      scope(() => crossEntropy(vit.forward(images), labels).backward())
      for (const [name, values] of await gradients(vit)) {
        const own = found.get(`members.${i}.${name}`)!
        assertClose(own, values, 1e-5, `member ${i}: ${name}`)
        ok(values.some((value) => value !== 0) || /bias|weight/.test(name), name)
      }
    }
    is(found.size, 3 * vits[0]!.parameters().length)
    const mean = await read(() => crossEntropy(tensor(meanOf(alone, 3), { shape: [B, 5] }), labels))
    assertClose([...(await reported.data())], mean, 1e-6, 'the loss of the mean')
    reported.dispose()
  })
}

test('features are those of the members side by side, and classify gives their logits', async () => {
  const features = await read(() => ensemble.features(images))
  const each: number[][] = []
  for (const vit of vits) each.push(await read(() => vit.features(images)))
  const rows = Array.from({ length: B }, (_, b) => each.flatMap((values) => values.slice(b * 20, (b + 1) * 20)))
  equal(features, rows.flat())
  const found = await predict(ensemble, { count: B, slice: () => pixels })
  equal([...found.features], features)
  assertClose(found.logits, meanOf(alone, 3), 1e-6, 'logits')
  const two = await predict(ensemble, { count: B, slice: () => pixels }, { branches: 2, mode: 'coalesced' })
  equal(two.features.length, B * 40)
  assertClose(two.logits, meanOf(alone, 2), 1e-6, 'logits of two members')
})

test('taps have the names of a vit behind that of the member', () => {
  const names: string[] = []
  scope(() => void noGrad(() => ensemble.forward(images, { taps: (name) => names.push(name) })))
  for (const name of ['members.0.embed', 'members.2.branches.0.layers.1.attention', 'members.1.features'])
    ok(names.includes(name), name)
})

test('training steps in every mode give the numbers of serial steps, and position embeddings do not decay', async () => {
  const follow = async (mode: Mode) => {
    device.random.seed = 4
    const model = createModel({ ...SHAPE, architecture: 'ensemble', members: 2, depth: 1, dropout: 0.2 })
    model.train()
    const optimizer = new AdamW(model.namedParameters())
    const values: number[] = []
    const [[objective]] = makeScheme('independent', 2, { mode }).passes as [[ReturnType<typeof makeScheme>['passes'][0][0]]]
    for (let step = 0; step < 2; step++) {
      const { losses, norm } = optimizerStep(model, optimizer, objective, [{ images, labels, share: 1 }], 1e-2, 1)
      values.push(...(await losses.data()), ...(await norm.data()))
    }
    for (const parameter of model.parameters()) values.push(...(await parameter.data()))
    optimizer.dispose()
    model.dispose()
    return values
  }
  const serial = await follow('serial')
  equal(await follow('streams'), serial)
  assertClose(await follow('coalesced'), serial, 1e-6, 'coalesced')
  const { posEmbedding, clsToken, embed } = ensemble.members[0]!
  equal([decays('members.0.posEmbedding', posEmbedding), decays('members.0.clsToken', clsToken)], [false, false])
  ok(decays('members.0.embed.weight', embed.weight))
})

test('what cannot run ends with one line', () => {
  const refused = (options: object, message: RegExp) =>
    throws(
      () => ensemble.forward(images, options),
      (error: Error) => message.test(error.message),
    )
  refused({ branches: 4 }, /^branches 4: this ensemble has 3; give a whole number from 1 to 3/)
  refused({ frozen: 1 }, /none: an ensemble has no branches/)
  refused({ outputs: images }, /none: an ensemble has no branches/)
  refused({ mode: 'devices' }, /mode "devices"/)
  throws(
    () => createModel({ architecture: 'ensemble', branches: 2 } as never),
    (error: unknown) => error instanceof UserError,
  )
})

test('ends', () => device.destroy())
run()
