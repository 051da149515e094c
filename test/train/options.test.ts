// Unknown options of functions that train, load and time, and invalid numbers on the command line.
import * as assert from 'uvu/assert'
import { doBench } from '../../bench/doBench.ts'
import { addSettings, count, givenSettings, makeCommand } from '../../train/cli/options.ts'
import { loadDataset } from '../../train/data/datasets.ts'
import { BatchLoader } from '../../train/data/loader.ts'
import { ArgumentError, ParaFormer, requestDevice, UserError } from '../../train/index.ts'
import { predict } from '../../train/predict.ts'
import { checkSettings, flagOf, SETTINGS } from '../../train/settings.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('options of training')

/** Lets tests pass options that the type checker would reject. */
const unchecked = (options: object) => options as never

async function message(work: () => unknown): Promise<string> {
  try {
    await work()
  } catch (error) {
    assert.instance(error, ArgumentError)
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}

test('each names the option and the nearest one', async () => {
  const dataset = { channels: 1, height: 1, width: 1, mean: [0], std: [1] }
  const split = { count: 1, images: new Uint8Array(1), labels: new Uint8Array(1) }
  const model = new ParaFormer({
    imageSize: 4,
    patchSize: 2,
    channels: 1,
    dim: 4,
    heads: 1,
    dimHead: 4,
    mlpDim: 4,
    branches: 1,
  })
  const images = { count: 1, slice: () => new Float32Array(16) }
  const calls: [() => unknown, string, string?][] = [
    [
      () => new BatchLoader(dataset, unchecked(split), unchecked({ batch_size: 1 })),
      'BatchLoader: unknown option "batch_size"',
      'batchSize',
    ],
    [
      () => new BatchLoader(dataset, unchecked(split), unchecked({ batchSize: 1, augment: { crop_padding: 1 } })),
      'augment: unknown option',
      'cropPadding',
    ],
    [() => new BatchLoader(dataset, unchecked(split), undefined as never), 'BatchLoader: got null as options'],
    [() => loadDataset('mnist', unchecked({ folder: '/x' })), 'loadDataset: unknown option "folder"'],
    [() => loadDataset('mnist', unchecked({ downloads: true })), 'loadDataset: unknown option', 'download'],
    [() => predict(model, images, unchecked({ branch: 1 })), 'predict: unknown option "branch"', 'branches'],
    [
      () =>
        doBench(
          device,
          unchecked(() => []),
          unchecked({ warm_up: 1, time: 1, minSamples: 1 }),
        ),
      'doBench: unknown option',
      'warmup',
    ],
  ]
  for (const [call, start, meant] of calls) {
    const found = await message(call)
    assert.ok(found.startsWith(start), found)
    if (meant) assert.match(found, `did you mean "${meant}"?`)
  }
})

/** Parses words as a command that takes every setting, as `train` does. */
const parse = (...words: string[]) => addSettings(makeCommand('train')).parse(words, { from: 'user' }).opts()

test('every number of the command line is one that it can be, else one line says which flag and what it takes', () => {
  const numeric = Object.entries(SETTINGS).filter(([, { kind }]) => kind === 'whole' || kind === 'number' || kind === 'numbers')
  assert.ok(numeric.length > 15, `${numeric.length}`)
  for (const [name, setting] of numeric) {
    const flag = flagOf(name)
    const words = ['', ' ', 'abc', 'NaN', '0x10', '0b1', '1,', '1 2', '--', '٣', 'Infinity', '-Infinity', '1e400', '-1']
    // A learning rate may be large, and a seed has at most 53 bits.
    for (const word of [...words, '1e300', ...(setting.kind === 'whole' ? ['1.5', '9007199254740993', '1e16'] : [])]) {
      try {
        checkSettings(givenSettings(parse(`${flag}=${word}`)))
      } catch (error) {
        assert.instance(error, UserError, `${flag} ${word}: ${error}`)
        const { message } = error as Error
        assert.ok(message.includes(flag) && !message.includes('\n'), message)
        continue
      }
      throw new Error(`${flag} ${JSON.stringify(word)} was taken`)
    }
  }
})

test('counts of other flags, too', () => {
  for (const word of ['', 'abc', 'NaN', '0', '-1', '1.5', '0x10', 'Infinity', '1e300', '101']) {
    assert.throws(() => count(100)(word), /^It must be a (whole )?number/)
  }
  assert.equal(['1', '100', '1e2', ' 7 '].map(count(100)), [1, 100, 100, 7])
})

run()
