import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { createTar } from 'nanotar'
import { UserError } from '../../engine/base/errors.ts'
import { CounterRandom } from '../../kernels/random/counterRandom.ts'
import { unpackTar } from '../../train/data/archive.ts'
import { type DatasetName, loadDataset } from '../../train/data/datasets.ts'
import { peakMemory, peakMemoryOf } from '../harness/memory.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { throws } from './userError.ts'

// Data sets whose files unpack to very much. A process of its own loads each, and prints its peak memory.
const [, , argument] = process.argv
if (argument !== undefined) {
  const [name, dir] = argument.split('=') as [DatasetName, string]
  const said = await loadDataset(name, { dir }).then(
    () => 'loaded',
    (error) => `${error instanceof UserError} ${error.message}`,
  )
  console.log(JSON.stringify({ said, peak: peakMemory() }))
  process.exit()
}

const { test, run } = suite('data bombs')
const folder = mkdtempSync(join(tmpdir(), 'paraformer-data-bombs-'))
const MIB = 2 ** 20

function idx(dims: readonly number[], data: Uint8Array): Uint8Array {
  const head = Buffer.alloc(4 + 4 * dims.length)
  head.writeUInt32BE(0x0800 + dims.length)
  for (const [i, dim] of dims.entries()) head.writeUInt32BE(dim, 4 + 4 * i)
  return new Uint8Array(Buffer.concat([head, data]))
}

const zeros = new Uint8Array(100 * MIB)
const packedZeros = gzipSync(zeros, { level: 1 })
/** A gzip of a header, if there is one, and 1000 MiB of zeros after it. */
const bomb = (head?: Uint8Array) =>
  Buffer.concat([...(head ? [gzipSync(head)] : []), ...new Array<Buffer>(10).fill(packedZeros)])
const images = idx([1, 2, 2], new Uint8Array(4))
const labels = idx([1], Uint8Array.of(1))
const mnist = {
  'train-images-idx3-ubyte': images,
  'train-labels-idx1-ubyte': labels,
  't10k-images-idx3-ubyte': images,
  't10k-labels-idx1-ubyte': labels,
}

/** Registers a test of the message and the peak memory of loading a data set. @param most MiB beyond the usual 120 */
function bounded(title: string, name: DatasetName, files: () => Record<string, Uint8Array>, most: number, says: RegExp) {
  test(title, () => {
    const dir = mkdtempSync(join(folder, 'set-'))
    for (const [file, bytes] of Object.entries(files())) {
      mkdirSync(dirname(join(dir, file)), { recursive: true })
      writeFileSync(join(dir, file), bytes)
    }
    const { said, peak } = peakMemoryOf<{ said: string; peak: number }>(`${name}=${dir}`)
    rmSync(dir, { recursive: true })
    if (!says.test(said)) throw new Error(`it says ${said}`)
    // Node itself and unpacking take up to 120 MiB.
    if (!(peak < 120 + most)) throw new Error(`took ${peak} MiB`)
  })
}

bounded('small ones', 'mnist', () => mnist, 0, /^loaded/)
bounded(
  'an IDX gzip that unpacks to 1 GB more than its header says',
  'mnist',
  () => ({ ...mnist, 'train-images-idx3-ubyte': bomb(idx([1, 2, 2], new Uint8Array(4))) }),
  50,
  /^true .*train-images-idx3-ubyte: too long, unpacks to more than the 20 bytes/,
)
bounded(
  'an IDX gzip whose header says 68 GB',
  'mnist',
  () => ({ ...mnist, 'train-images-idx3-ubyte': bomb(idx([65535, 1024, 1024], new Uint8Array(4))) }),
  50,
  /^true .*says that it holds 687.* bytes, more than 1 GiB/,
)
bounded(
  'a CIFAR gzip that unpacks to 1 GB',
  'cifar-10',
  () =>
    Object.fromEntries([...[1, 2, 3, 4, 5].map((i) => `data_batch_${i}.bin`), 'test_batch.bin'].map((file) => [file, bomb()])),
  350,
  /^true .*data_batch_1\.bin: too long/,
)
bounded(
  'a CIFAR archive that unpacks to 1 GB',
  'cifar-10',
  () => ({ 'cifar-10-binary.tar.gz': bomb() }),
  450,
  /^true .*tar\.gz: too long, unpacks to more than the 200000000 bytes/,
)
bounded(
  'a long list of class names',
  'cifar-100',
  () => ({ 'train.bin': new Uint8Array(3074), 'test.bin': new Uint8Array(3074), 'fine_label_names.txt': zeros }),
  50,
  /^true .*fine_label_names\.txt: longer than 10000 bytes/,
)

const names = ['dir/a.bin', 'dir/b.bin']
const tar = createTar(names.map((name, i) => ({ name, data: new Uint8Array(700 + i).fill(i + 1) })))
const unpack = (bytes: Uint8Array) => unpackTar(bytes, 'x', ['a.bin', 'b.bin'])

test('a tar archive cut anywhere loses no file silently', () => {
  equal([...unpack(tar).keys()], ['a.bin', 'b.bin'], 'files')
  equal([...unpackTar(tar, 'x', ['b.bin']).keys()], ['b.bin'], 'files asked for')
  for (let length = 0; length < tar.length; length += 37) {
    let files: Map<string, Uint8Array> | undefined
    try {
      files = unpack(tar.subarray(0, length))
    } catch (error) {
      if (!(error instanceof UserError)) throw error
    }
    for (const [name, bytes] of files ?? []) equal(bytes.length, name === 'a.bin' ? 700 : 701, `${name} at ${length}`)
  }
})

test('a spoiled tar archive is refused or read, and hangs nowhere', () => {
  for (let round = 0; round < 2000; round++) {
    const random = new CounterRandom(4, [round, 0, 0])
    const damaged = tar.slice()
    damaged[random.below(512)] = random.below(256)
    try {
      unpack(damaged)
    } catch (error) {
      if (!(error instanceof UserError)) throw new Error(`round ${round}: ${String(error)}`)
    }
  }
  // A negative size leads back to the entry itself.
  const backwards = tar.slice()
  backwards.set(Buffer.from('-0000001000\0'), 124)
  throws(() => unpack(backwards), /^x: truncated or no tar archive/, UserError)
  const many = createTar(Array.from({ length: 1500 }, (_, i) => ({ name: `f${i}`, data: new Uint8Array(0) })))
  throws(() => unpack(many), /^x: truncated or no tar archive/, UserError)
})

test('ends', () => rmSync(folder, { recursive: true }))
run()
