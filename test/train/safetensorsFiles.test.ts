import { execFileSync } from 'node:child_process'
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ArgumentError, UserError } from '../../engine/base/errors.ts'
import { requestDevice, tensor } from '../../engine/index.ts'
import { loadSafetensors, openSafetensors, type Saveable, saveSafetensors, toFloat32 } from '../../train/checkpoint/files.ts'
import { decodeSafetensors, type SafetensorsDtype, type SafetensorsEntry } from '../../train/checkpoint/safetensors.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { rejects } from './userError.ts'

const { test, run } = suite('safetensors files')
const device = await requestDevice()
const scalar: SafetensorsEntry = { dtype: 'F64', shape: [], data: Float64Array.of(Math.PI) }

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-safetensors-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('saves a Map or a plain object, raw entries and engine tensors alike', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-safetensors-'))
  try {
    const path = join(folder, 'new', 'deep', 'x.safetensors')
    const engineTensor = { shape: [2, 2], dtype: 'float32' as const, data: async () => Float32Array.of(1, 2, 3, 4) }
    const indices = { shape: [3], dtype: 'int32' as const, data: async () => Int32Array.of(1, -2, 3) }
    await saveSafetensors(path, { a: engineTensor, b: indices, c: scalar }, { note: 'n' })
    const first = readFileSync(path)
    const { tensors, metadata: strings } = await loadSafetensors(path)
    equal(strings, { note: 'n' }, 'metadata')
    equal(tensors.get('a'), { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }, 'float32 tensor')
    equal(tensors.get('b'), { dtype: 'I32', shape: [3], data: Int32Array.of(1, -2, 3) }, 'int32 tensor')
    equal(tensors.get('c')!.data, [Math.PI], 'entry')
    await saveSafetensors(path, new Map([...tensors].reverse()), strings)
    equal(Buffer.compare(readFileSync(path), first), 0, 'difference when saved again')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a place that cannot be read or written is refused in one line, and nothing is left behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-safetensors-'))
  try {
    const path = join(folder, 'x.safetensors')
    await rejects(loadSafetensors(path), /x\.safetensors: no such file; check the path/, UserError)
    await rejects(loadSafetensors(folder), /is a folder; name a file/, UserError)
    writeFileSync(path, 'not a folder')
    await rejects(saveSafetensors(join(path, 'y'), {}), /cannot be written \(\w+\)/, UserError)
    await rejects(saveSafetensors(folder, {}), /is a folder; name a file/, UserError)
    const bad = { a: { dtype: 'F32' as SafetensorsDtype, shape: [3], data: new Float32Array(2) } }
    await rejects(saveSafetensors(path, bad), /tensor "a"/, UserError)
    equal(statSync(path).size, 12, 'the file that was there')
    await saveSafetensors(path, {})
    equal((await loadSafetensors(path)).tensors.size, 0, 'tensors of an empty file')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what no reader would open is refused before anything is written', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    const w = { dtype: 'F32' as const, shape: [1], data: Float32Array.of(1) }
    const disposed = tensor([1, 2])
    disposed.dispose()
    const engine = (shape: unknown, dtype: string, data: unknown) => ({ shape, dtype, data: async () => data })
    const cases: [unknown, unknown, RegExp][] = [
      [{ w }, { epoch: 3 }, /x\.safetensors: metadata "epoch" is 3; give an object of texts/],
      [{ w }, { epoch: undefined }, /metadata "epoch" is undefined/],
      [{ w }, { epoch: null }, /metadata "epoch" is null/],
      [{ w }, { config: { dim: 3 } }, /metadata "config" is an object/],
      [{ w }, null, /metadata are null/],
      [{ w }, 'text', /metadata are "text"/],
      [{ w }, ['a'], /metadata are \["a"\]/],
      [{ w }, new Map([['a', 'b']]), /metadata are an object of class Map/],
      [{ w }, { a: '\ud800' }, /metadata "a" is no Unicode text/],
      [{ w }, { 'a\ud83d': '\ude00b' }, /is no Unicode text/],
      [{ '\udc00': w }, {}, /is no Unicode text/],
      [{ __metadata__: w }, {}, /cannot be named __metadata__/],
      [new Map([[7, w]]), {}, /a tensor is named 7; names are texts/],
      [null, {}, /got null as tensors/],
      [{ w: null }, {}, /tensor "w" is null/],
      [{ w: 3 }, {}, /tensor "w" is 3/],
      [{ w: Float32Array.of(1) }, {}, /tensor "w" is Float32Array\(1\)/],
      [{ w: { ...w, dtype: 'float32' } }, {}, /tensor "w" has dtype "float32"; .*F32/],
      [{ w: { ...w, dtype: 'F8_E4M3' } }, {}, /has dtype "F8_E4M3"/],
      [{ w: { ...w, dtype: 'toString' } }, {}, /has dtype "toString"/],
      [{ w: { ...w, dtype: undefined } }, {}, /has dtype undefined/],
      [{ w: { ...w, shape: undefined } }, {}, /has shape undefined/],
      [{ w: { ...w, shape: [1.5] } }, {}, /has shape \[1.5\]/],
      [{ w: { ...w, shape: [2] } }, {}, /Float32Array\(1\) is not F32 \[2\]/],
      [{ w: { ...w, data: [1] } }, {}, /\[1\] is not F32 \[1\]/],
      [{ w: { ...w, data: Int32Array.of(1) } }, {}, /Int32Array\(1\) is not F32/],
      [{ w: engine([1], 'int64', BigInt64Array.of(1n)) }, {}, /tensor "w" has dtype "int64"; what can be saved is float32/],
      [{ w: engine([2], 'float32', Float32Array.of(1)) }, {}, /Float32Array\(1\) is not F32 \[2\]/],
      [{ w: engine([1], 'int32', Float32Array.of(1)) }, {}, /Float32Array\(1\) is not I32/],
      [{ w, disposed }, {}, /disposed/],
      [{ x: 'y'.repeat(10), w }, {}, /tensor "x" is "yyyyyyyyyy"/],
      [{ w }, { long: 'x'.repeat(100_000_000) }, /more than 100000000; save less metadata/],
    ]
    for (const [tensors, metadata, message] of cases) {
      await rejects(saveSafetensors(path, tensors as Record<string, Saveable>, metadata as Record<string, string>), message)
      equal(readdirSync(folder), [], `files after ${message}`)
    }
  }))

test('views, empty tensors and one tensor under two names are saved whole, as they are at the call', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    const grid = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] })
    const half = tensor([1, 2, 3], { dtype: 'float16' }).slice([[1, 3]])
    const saving = saveSafetensors(path, {
      turned: grid.permute([1, 0]),
      column: grid.slice([[], [1, 2]]),
      wide: grid.slice([[0, 1]]).broadcastTo([2, 3]),
      a: grid,
      b: grid,
      half,
      none: { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
    })
    grid.write(new Float32Array(6))
    grid.dispose()
    await saving
    const { tensors } = await loadSafetensors(path)
    const values = (name: string) => [tensors.get(name)!.shape, Array.from(toFloat32(tensors.get(name)!))]
    equal(
      values('turned'),
      [
        [3, 2],
        [1, 4, 2, 5, 3, 6],
      ],
      'transposed',
    )
    equal(
      values('column'),
      [
        [2, 1],
        [2, 5],
      ],
      'column',
    )
    equal(
      values('wide'),
      [
        [2, 3],
        [1, 2, 3, 1, 2, 3],
      ],
      'broadcast',
    )
    equal(
      values('a'),
      [
        [2, 3],
        [1, 2, 3, 4, 5, 6],
      ],
      'first name',
    )
    equal(values('b'), values('a'), 'second name')
    equal(values('half'), [[2], [2, 3]], 'half')
    equal(values('none'), [[0, 4], []], 'empty')
  }))

test('a file is opened for its header, and only what is asked for is read', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    const rows = Float32Array.from({ length: 12 }, (_, i) => i)
    await saveSafetensors(path, { rows: { dtype: 'F32', shape: [4, 3], data: rows }, scalar }, { note: 'n' })
    const file = await openSafetensors(path)
    equal(
      [...file.tensors].map(([name, { dtype, shape }]) => [name, dtype, shape]),
      [
        ['scalar', 'F64', []],
        ['rows', 'F32', [4, 3]],
      ],
      'tensors',
    )
    equal(file.metadata, { note: 'n' }, 'metadata')
    equal(await file.read('rows', [1, 3]), { dtype: 'F32', shape: [2, 3], data: rows.subarray(3, 9) }, 'rows 1 and 2')
    equal(await file.read('rows', [4, 4]), { dtype: 'F32', shape: [0, 3], data: new Float32Array(0) }, 'no rows')
    equal(await file.read('rows'), { dtype: 'F32', shape: [4, 3], data: rows }, 'all rows')
    equal(await file.read('scalar'), { ...scalar, shape: [] }, 'scalar')
    await rejects(file.read('row'), /x\.safetensors: has no tensor "row" \(did you mean "rows"\?\)/, UserError)
    await rejects(file.read('rows', [2, 5]), /got 5 as the end of the rows/, ArgumentError)
    await rejects(file.read('rows', [3, 2]), /got 3 as the begin of the rows/, ArgumentError)
    ftruncateSync(openSync(path, 'r+'), statSync(path).size - 4)
    equal((await file.read('rows', [0, 3])).shape, [3, 3], 'rows before the cut')
    await rejects(file.read('rows'), /x\.safetensors: ends before byte \d+; use an intact copy/, UserError)
    await file.close()
    await rejects(loadSafetensors(path), /truncated, tensor "rows" ends at byte 56 of 52/, UserError)
    const wrong = (options: unknown) => loadSafetensors(path, options as Record<string, never>)
    await rejects(wrong({ tensor: ['a'] }), /unknown option "tensor" \(did you mean "tensors"\?\)/, ArgumentError)
    await rejects(wrong({ tensors: 'rows' }), /got "rows" as tensors, takes a list of names/, ArgumentError)
  }))

test('a tensor of an unknown dtype is in no way until it is asked for', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    const header = JSON.stringify({
      a: { dtype: 'F8_E4M3', shape: [3], data_offsets: [0, 3] },
      b: { dtype: 'U8', shape: [2], data_offsets: [3, 5] },
    })
    const bytes = new Uint8Array(8 + header.length + 5)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true)
    bytes.set(new TextEncoder().encode(header), 8)
    bytes.set([1, 2, 3, 4, 5], 8 + header.length)
    writeFileSync(path, bytes)
    equal((await loadSafetensors(path, { tensors: ['b'] })).tensors.get('b')!.data, [4, 5], 'the other')
    await rejects(loadSafetensors(path), /tensor "a" has dtype "F8_E4M3", known are/, UserError)
  }))

test('what is written comes out of encodeSafetensors alike, and pipes are read and written', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    await saveSafetensors(path, { scalar }, { note: 'n' })
    equal(decodeSafetensors(readFileSync(path), path).tensors.get('scalar'), scalar, 'scalar')
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    const [, read] = await Promise.all([saveSafetensors(pipe, { scalar }), loadSafetensors(pipe)])
    equal(read.tensors.get('scalar'), scalar, 'through a pipe')
  }))

test('a small tensor at the far end of a file of 5 GiB is read at once', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    const far = 5 * 2 ** 30
    const header = JSON.stringify({
      large: { dtype: 'F32', shape: [far / 4], data_offsets: [0, far] },
      small: { dtype: 'I32', shape: [3], data_offsets: [far, far + 12] },
    })
    const start = 8 + header.length
    const file = openSync(path, 'w')
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(header.length))
    writeSync(file, Buffer.concat([length, Buffer.from(header)]))
    writeSync(file, Buffer.from(Int32Array.of(7, -8, 9).buffer), 0, 12, start + far)
    closeSync(file)
    const before = process.memoryUsage().arrayBuffers
    const { tensors } = await loadSafetensors(path, { tensors: ['small'] })
    equal(tensors.get('small'), { dtype: 'I32', shape: [3], data: Int32Array.of(7, -8, 9) }, 'small')
    const opened = await openSafetensors(path)
    equal((await opened.read('large', [far / 4 - 2, far / 4])).data, [0, 0], 'the end of the large one')
    await opened.close()
    if (process.memoryUsage().arrayBuffers - before > 2 ** 24) throw new Error('more was read than asked for')
  }))

test('ends', () => device.destroy())
run()
