import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { stripWgsl } from '../../buildWgsl.mjs'
import { kernelFamilies } from '../../kernels/index.ts'
import { type Capabilities, runsOn } from '../../kernels/spec.ts'
import { specialize } from '../../kernels/specialize.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('WGSL in builds')

test('comments of both kinds, indentation and blank lines are gone, and what they part stays apart', () => {
  assert.is(stripWgsl('// a\n\nfn f() {\n  let a/* b */= 1; // c\n\n  // d\n}\n'), 'fn f() {\nlet a = 1;\n}')
  assert.is(stripWgsl('a /* b /* c */ d\n // e */ f'), 'a   f')
  assert.is(stripWgsl('a / b /* //* */ */ * c'), 'a / b   * c')
  assert.is(stripWgsl('a // b /* c\nd'), 'a\nd')
  assert.is(stripWgsl('a /***/ b /**/ c'), 'a   b   c')
})

test('every shader has the same tokens as before, and no comment', () => {
  const files = readdirSync('kernels', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.wgsl'))
  assert.ok(files.length > 50, `${files.length} files`)
  for (const file of files) {
    const source = readFileSync(join('kernels', file), 'utf8')
    const text = stripWgsl(source)
    assert.not.match(text, /\/\/|\/\*|\*\/|^\s|\n\s/, file)
    assert.is(tokens(text), tokens(source.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ' ')), file)
  }
})

function tokens(text: string): string {
  return text.trim().split(/\s+/).join(' ')
}

test('its constants are found where they were', () => {
  const device: Capabilities = {
    ...{ software: false, gathersPrivate: false, subgroupMinSize: 4, subgroupMaxSize: 32, subgroupMatrix: true, f16: true },
    ...{ maxInvocations: 1024, maxWorkgroupMemory: 32768, maxWorkgroups: 65535 },
  }
  const compared = new Set<string>()
  for (const { spec, cases } of Object.values(kernelFamilies).flat()) {
    for (const variant of spec.variants) {
      for (const { name, problem } of cases) {
        if (!runsOn(spec, variant, device, problem)) continue
        const constants = variant.constants?.(problem, device) ?? {}
        const key = `${spec.name}/${variant.name} ${JSON.stringify(constants)}`
        if (compared.has(key)) continue
        compared.add(key)
        const expected = stripWgsl(specialize(variant.source, constants))
        assert.is(specialize(stripWgsl(variant.source), constants), expected, `${spec.name}/${variant.name}, ${name}`)
      }
    }
  }
  assert.ok(compared.size > 300, `${compared.size} pipelines`)
})

run()
