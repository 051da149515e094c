import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadSafetensors, openSafetensors, saveSafetensors } from '../../train/checkpoint/files.ts'
import type { SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

const { test, run } = suite('large safetensors files')

test('5.3 GB are written in pieces and read back, one tensor of them larger than 2 GiB', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-large-'))
  try {
    const path = join(folder, 'x.safetensors')
    const count = 2 ** 29 + 2 ** 25
    const data = new Float32Array(count)
    const marks = [0, 2 ** 28 - 1, 2 ** 28, 2 ** 29 - 1, 2 ** 29, count - 1]
    for (const at of marks) data[at] = at + 0.5
    const small: SafetensorsEntry = { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) }
    // Both names share their data in memory, but not in the file.
    await saveSafetensors(path, { a: { dtype: 'F32', shape: [count], data }, b: { dtype: 'F32', shape: [count], data }, small })
    if (statSync(path).size < 8 * count) throw new Error(`${statSync(path).size} bytes`)
    equal((await loadSafetensors(path, { tensors: ['small'] })).tensors.get('small'), small, 'at the end')
    const file = await openSafetensors(path)
    for (const at of marks) equal((await file.read('b', [at, at + 1])).data, data.subarray(at, at + 1), `row ${at}`)
    const whole = await file.read('a')
    await file.close()
    equal(whole.data.length, count, 'length')
    for (const at of marks) equal(whole.data[at], data[at], `element ${at}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

run()
