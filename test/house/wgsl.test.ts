// A .wgsl file is whole and legal WGSL as it stands: Dawn's null backend compiles each. A function that several files need stands in
// each of them. Functions and structs of one name are the same to the byte, the comment before them included; those that do different
// things have different names, so no list of exceptions is needed.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { create } from 'webgpu'
import { SUBGROUP_MATRIX } from '../../engine/platform/types.ts'
import { suite } from '../harness/suite.ts'

/** The functions and structs of a WGSL text by name, with the comment before each; `main` and `Params` belong to their file. */
function declarationsOf(source: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const [text, name] of source.matchAll(/^(?:\/\/.*\n)*(?:fn|struct) (\w+)(?:.*\}$|[\s\S]*?\n\}$)/gm)) {
    if (name !== 'main' && name !== 'Params') found.set(name!, text)
  }
  return found
}

/** The names whose copies differ, as one line each that groups the files by what they say. */
function differences(sources: ReadonlyMap<string, string>): string[] {
  const copies = new Map<string, Map<string, string[]>>()
  for (const [file, source] of sources) {
    for (const [name, text] of declarationsOf(source)) {
      const texts = copies.get(name) ?? new Map<string, string[]>()
      copies.set(name, texts.set(text, [...(texts.get(text) ?? []), file]))
    }
  }
  return [...copies].flatMap(([name, texts]) => {
    return texts.size > 1 ? [`${name}: ${[...texts.values()].map((files) => files.join(', ')).join(' | ')}`] : []
  })
}

const files = readdirSync('kernels', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.wgsl'))
const sources = new Map(files.sort().map((file) => [file, readFileSync(join('kernels', file), 'utf8')]))

// Dawn's objects must stay referenced.
const instance = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis'])
const adapter = (await instance.requestAdapter())!
const device = await adapter.requestDevice({ requiredFeatures: [SUBGROUP_MATRIX, 'subgroups', 'shader-f16'] })

async function messagesOf(code: string): Promise<string> {
  device.pushErrorScope('validation')
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo()
  await device.popErrorScope()
  return messages.map(({ lineNum, message }) => `line ${lineNum}: ${message}`).join('; ')
}

const { test, run } = suite('WGSL')

test('every file is legal WGSL as it stands', async () => {
  for (const [file, source] of sources) {
    const messages = await messagesOf(source)
    if (messages) throw new Error(`${file}: ${messages}`)
  }
  if (!(await messagesOf('fn main() { return 1; }'))) throw new Error('the null backend checks nothing')
})

test('functions and structs of one name are the same in every file', () => {
  const differing = differences(sources)
  if (differing.length > 0) throw new Error(`copies differ:\n${differing.join('\n')}`)
})

test('the comparison sees every function, and one changed byte', () => {
  let seen = 0
  for (const [file, source] of sources) {
    const found = declarationsOf(source)
    for (const [, name] of source.matchAll(/^(?:fn|struct) (\w+)/gm)) {
      if (found.has(name!)) seen++
      else if (name !== 'main' && name !== 'Params') throw new Error(`${file}: ${name} is not seen`)
    }
  }
  if (seen < 100) throw new Error(`only ${seen} functions found; run the tests from the project's root`)
  const changed = new Map(sources)
  changed.set('random/dropout.wgsl', sources.get('random/dropout.wgsl')!.replace('round < 10u', 'round < 11u'))
  const found = differences(changed).find((line) => line.startsWith('philox: '))
  if (!found?.split(' | ').some((files) => files.endsWith('random/dropout.wgsl')))
    throw new Error(`one changed round of Philox gives ${found}`)
})

test('ends', () => {
  device.destroy()
  if (!instance || !adapter) throw new Error('collected')
})
run()
