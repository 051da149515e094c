import { equal, is, throws } from 'uvu/assert'
import { UserError } from '../../engine/base/errors.ts'
import { branchShape, checkConfig, checkPrefix, DEFAULT_CONFIGS, parseConfig } from '../../model/config.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('model config')

/** A check that passes only a UserError whose message is one line and matches. */
function userError(pattern: RegExp) {
  return (error: unknown) => {
    const good = error instanceof UserError && !error.message.includes('\n') && pattern.test(error.message)
    if (!good) console.error(error)
    return good
  }
}

test('defaults are the paper’s', () => {
  equal(checkConfig({}), {
    architecture: 'paraformer',
    imageSize: 224,
    patchSize: 16,
    channels: 3,
    dim: 192,
    heads: 3,
    dimHead: 64,
    mlpDim: 768,
    branches: 8,
    branchDepth: 2,
    classes: 10,
    residual: 'paper',
    pool: 'cls',
    dropout: 0.1,
  })
  const vit = checkConfig({ architecture: 'vit' })
  is(vit.residual, 'preNorm')
  equal(branchShape(vit), { branches: 1, depth: 16 })
  equal(branchShape(checkConfig({})), { branches: 8, depth: 2 })
})

test('fields given replace defaults; undefined counts as left out; the input and the defaults stay as they are', () => {
  const fields = { imageSize: 28, patchSize: 7, channels: 1, heads: undefined, pool: 'mean' }
  const config = checkConfig(fields)
  equal([config.imageSize, config.patchSize, config.channels, config.heads, config.pool], [28, 7, 1, 3, 'mean'])
  is(Object.keys(fields).length, 5)
  config.dim = 1
  is(DEFAULT_CONFIGS.paraformer.dim, 192)
})

test('a config survives JSON, in either key order', () => {
  for (const architecture of ['paraformer', 'vit', 'ensemble'] as const) {
    const config = checkConfig({ architecture, imageSize: 22, patchSize: 11, dropout: 0.25, residual: 'paper', pool: 'mean' })
    equal(parseConfig(JSON.stringify(config)), config)
    const reversed = Object.fromEntries(Object.entries(config).reverse())
    is(JSON.stringify(parseConfig(JSON.stringify(reversed))), JSON.stringify(config))
  }
})

const BAD: [config: unknown, message: RegExp][] = [
  [undefined, /config is undefined; give an object/],
  [null, /config is null/],
  [[1], /config is \[1\]/],
  ['vit', /config is "vit"/],
  [{ architecture: 'resnet' }, /architecture "resnet" is unknown; choose paraformer, vit, ensemble/],
  [{ architecture: 'toString' }, /architecture "toString" is unknown/],
  [{ architecture: 7 }, /architecture 7 is unknown/],
  [{ depth: 3 }, /unknown model config key depth; a paraformer takes .*branches, branchDepth/],
  [{ architecture: 'vit', branches: 3, branchDepth: 1 }, /key branches, branchDepth; a vit takes .*depth/],
  [{ patchSize: 5, imageSize: 32 }, /patchSize 5 does not divide imageSize 32; choose one of 1, 2, 4, 8, 16, 32$/],
  [{ patchSize: 64, imageSize: 32 }, /patchSize 64 does not divide imageSize 32/],
  [{ residual: 'post' }, /residual "post" is unknown; choose paper or preNorm/],
  [{ pool: ['cls'] }, /pool \["cls"\] is unknown; choose cls or mean/],
  [{ dropout: 1 }, /dropout 1 is not a probability/],
  [{ dropout: -0.1 }, /dropout -0.1 /],
  [{ dropout: Number.NaN }, /dropout NaN /],
  [{ dropout: '0.1' }, /dropout "0.1" /],
]
for (const key of [
  'imageSize',
  'patchSize',
  'channels',
  'dim',
  'heads',
  'dimHead',
  'mlpDim',
  'branches',
  'branchDepth',
  'classes',
]) {
  for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '3', null, true]) {
    BAD.push([{ [key]: value }, new RegExp(`^${key} .* is not a positive integer of at most \\d+; give 1 or more$`)])
  }
}
BAD.push([{ architecture: 'ensemble', branches: 2 }, /key branches; an ensemble takes .*members, depth/])
BAD.push([{ architecture: 'ensemble', members: 0 }, /^members 0 is not a positive integer/])
BAD.push([{ architecture: 'vit', depth: 0 }, /^depth 0 is not a positive integer/])

test('every bad field ends with its one line', () => {
  for (const [config, message] of BAD)
    throws(() => checkConfig(config), userError(message), `accepted ${JSON.stringify(config)}`)
})

test('the architecture can be fixed', () => {
  is(checkConfig({}, 'vit').depth, 16)
  throws(() => checkConfig({ architecture: 'vit' }, 'paraformer'), userError(/is of a vit, not of a paraformer/))
})

test('bad JSON', () => {
  throws(() => parseConfig('{"dim": 12'), userError(/is not JSON: "\{/))
  throws(() => parseConfig(''), userError(/is not JSON/))
  throws(() => parseConfig('{"dim": 0}'), userError(/^dim 0 /))
})

test('prefixes', () => {
  const config = checkConfig({ branches: 3 })
  equal(
    [undefined, 1, 2, 3].map((k) => checkPrefix(config, k)),
    [3, 1, 2, 3],
  )
  for (const k of [0, 4, -1, 1.5, Number.NaN, '2' as any, null as any]) {
    throws(() => checkPrefix(config, k), userError(/^branches .*: this paraformer has 3; give a whole number from 1 to 3$/))
  }
  throws(() => checkPrefix(checkConfig({ architecture: 'vit' }), 2), userError(/this vit has 1/))
})

run()
