import { fork } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { loadSafetensors, saveSafetensors } from '../../train/checkpoint/files.ts'
import type { SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

const KILLS = 20

/** A checkpoint of a few megabytes in which every number is `round`. */
function checkpoint(round: number): Record<string, SafetensorsEntry> {
  const data = new Float32Array(250_000).fill(round)
  return Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`t${i}`, { dtype: 'F32', shape: [data.length], data }]))
}

const save = (path: string, round: number) => saveSafetensors(path, checkpoint(round), { round: String(round) })

/** The round of a file. Fails unless the file is whole and comes from one write. */
async function roundOf(path: string): Promise<number> {
  const { tensors, metadata } = await loadSafetensors(path)
  const round = Number(metadata.round)
  equal(tensors.size, 4, 'tensors')
  for (const { data } of tensors.values()) {
    if (!(data as Float32Array).every((value) => value === round)) throw new Error(`round ${round} holds numbers of another`)
  }
  return round
}

const [, , role, path, start] = process.argv
if (role === 'writer') {
  for (let round = Number(start); ; round++) {
    process.send?.(round)
    await save(path!, round)
  }
} else {
  const { test, run } = suite('atomic')

  test(`a writer killed ${KILLS} times leaves the old file or the new one, and nothing piles up`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'paraformer-atomic-'))
    const file = join(folder, 'checkpoint.safetensors')
    const leftOver = () => readdirSync(folder).filter((name) => name !== 'checkpoint.safetensors')
    try {
      await save(file, 0)
      let last = 0
      let interrupted = 0
      for (let kill = 0; kill < KILLS; kill++) {
        const begun = await killWriter(file, last + 1, kill)
        interrupted += leftOver().length > 0 ? 1 : 0
        if (!(leftOver().length <= 1)) throw new Error(`kill ${kill}: ${leftOver().join(', ')} are left`)
        const round = await roundOf(file)
        // The last write that began may have ended or not; the one before it has ended.
        if (!(round >= begun - 1)) throw new Error(`kill ${kill}: round ${round} after ${begun} was begun`)
        last = round
      }
      if (interrupted === 0) throw new Error('no kill came in the middle of a write')
      await save(file, last + 1)
      equal(await roundOf(file), last + 1, 'the last write')
      equal(leftOver(), [], 'left over')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('writes of one file at the same time leave one of them whole', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'paraformer-atomic-'))
    try {
      const file = join(folder, 'checkpoint.safetensors')
      await Promise.all([1, 2, 3].map((round) => save(file, round)))
      if (!((await roundOf(file)) >= 1)) throw new Error('no round')
      equal(readdirSync(folder), ['checkpoint.safetensors'], 'files')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  run()
}

/** Starts a writer and kills it at a random moment after its second write has begun. @returns the last round that it began */
function killWriter(file: string, round: number, kill: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ['writer', file, String(round)])
    let begun = round
    const delay = new CounterRandom(2, [kill, 0, 0]).below(60)
    child.on('message', (message) => {
      if (typeof message !== 'number') return
      begun = message
      if (begun === round + 1) setTimeout(() => child.kill('SIGKILL'), delay)
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(begun)
      else reject(new Error(`the writer ended with code ${code} ${signal ?? ''}`))
    })
  })
}
