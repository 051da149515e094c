import { requestDevice } from '../../engine/index.ts'
import { createModel } from '../../model/index.ts'
import { parameterShapes } from '../../model/shapes.ts'
import { checkOutlines } from '../../model/stateDict.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('parameter shapes')
const device = await requestDevice()
const sizes = { imageSize: 12, patchSize: 4, channels: 2, dim: 6, heads: 2, dimHead: 5, mlpDim: 7, classes: 3 }

for (const config of [
  { architecture: 'paraformer', branches: 3, branchDepth: 2, ...sizes },
  { architecture: 'paraformer', branches: 1, branchDepth: 1, ...sizes, pool: 'mean', residual: 'preNorm' },
  { architecture: 'vit', depth: 3, ...sizes },
  { architecture: 'ensemble', members: 2, depth: 2, ...sizes },
] as const) {
  test(`names and shapes of ${JSON.stringify(config)} are those of the model`, () => {
    const model = createModel(config)
    const made = model.namedParameters().map(([name, { shape }]) => `${name} [${shape.join(', ')}]`)
    const said = [...parameterShapes(model.config)].map(([name, { shape }]) => `${name} [${shape.join(', ')}]`)
    if (made.sort().join('\n') !== said.sort().join('\n')) throw new Error(`${said.join('\n')}\nbut\n${made.join('\n')}`)
    checkOutlines(parameterShapes(model.config), new Map(Object.entries(model.stateDict())))
    model.dispose()
  })
}

test('ends', () => device.destroy())
run()
