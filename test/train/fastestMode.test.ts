import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { requestDevice } from '../../engine/index.ts'
import { MODES, ParaFormer } from '../../model/index.ts'
import { AdamW } from '../../train/index.ts'
import { fastestMode } from '../../train/run/fastestMode.ts'
import { schemeOf } from '../../train/schemes/index.ts'
import { suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('the fastest mode')
const cache = mkdtempSync(join(tmpdir(), 'paraformer-mode-'))
process.env.XDG_CACHE_HOME = cache

const CONFIG = { imageSize: 8, patchSize: 4, dim: 8, heads: 2, dimHead: 4, mlpDim: 8, branches: 2, branchDepth: 1, dropout: 0 }

for (const [i, trained] of [true, false].entries()) {
  test(`times forward and backward of every mode, with${trained ? '' : 'out'} an optimizer`, async () => {
    const model = new ParaFormer(CONFIG)
    const optimizer = trained ? new AdamW(model.namedParameters()) : undefined
    const before = device.counts.dispatches
    const { mode, measured } = await fastestMode({ device, model, scheme: schemeOf('joint'), batch: 2 + i })
    assert.ok(MODES.includes(mode) && MODES.every((candidate) => measured![candidate] > 0), JSON.stringify(measured))
    // A forward and backward pass of this model has at least 20 dispatches, and each mode runs at least four times.
    const dispatches = device.counts.dispatches - before
    assert.ok(dispatches >= 3 * 4 * 20, `${dispatches} dispatches`)
    assert.ok(model.parameters().every(({ grad }) => grad === undefined))
    optimizer?.dispose()
    model.dispose()
  })
}

test('ends', () => {
  device.destroy()
  rmSync(cache, { recursive: true })
})

run()
