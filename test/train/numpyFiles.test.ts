import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zipSync } from 'fflate'
import { requestDevice, type Tensor, tensor } from '../../engine/index.ts'
import { decodeNpy, encodeNpy } from '../../train/checkpoint/npy.ts'
import { loadNpy, loadNpz, saveNpy, saveNpz } from '../../train/index.ts'
import { note, quick, suite } from '../harness/suite.ts'

const device = await requestDevice()
const { test, run } = suite('.npy and .npz files')
const folder = mkdtempSync(join(tmpdir(), 'paraformer-npy-'))
const at = (name: string) => join(folder, name)

/** The dtype, shape and values of a tensor as text. */
const told = async (t: Tensor) => `${t.dtype} [${t.shape}] ${[...(await t.data())]}`
const expect = (actual: string, expected: string) => {
  if (actual !== expected) throw new Error(`${actual}\nexpected ${expected}`)
}

/** Bytes of an .npy file with this dictionary and these values. */
function npyOf(dictionary: string, values: ArrayBufferView, version = 1): Uint8Array {
  const header = new TextEncoder().encode(`${dictionary}\n`)
  const size = version === 1 ? [header.length & 255, header.length >> 8] : [header.length & 255, header.length >> 8, 0, 0]
  const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  return Uint8Array.of(0x93, ...new TextEncoder().encode('NUMPY'), version, 0, ...size, ...header, ...data)
}
const dict = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`

test('tensors of every dtype and rank come back, views as their values', async () => {
  const tensors: Record<string, Tensor> = {
    scalar: tensor(-1.5),
    vector: tensor([1, Number.NaN, Number.NEGATIVE_INFINITY, -0]),
    transposed: tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] }).transpose(0, 1),
    labels: tensor(Int32Array.of(-(2 ** 31), 2 ** 31 - 1)),
    ...(device.capabilities.f16 && { half: tensor([1, 65504, 2 ** -24], { dtype: 'float16' }) }),
  }
  for (const [name, t] of Object.entries(tensors)) {
    await saveNpy(at(`${name}.npy`), t)
    expect(await told(await loadNpy(at(`${name}.npy`))), await told(t))
    const bytes = readFileSync(at(`${name}.npy`))
    if ((bytes.length - 4 * t.size) % 64 !== 0 && t.dtype !== 'float16') throw new Error(`${name} is not aligned`)
  }
  await saveNpz(at('all.npz'), tensors)
  const loaded = await loadNpz(at('all.npz'))
  expect([...loaded.keys()].join(), Object.keys(tensors).join())
  for (const [name, t] of loaded) expect(await told(t), await told(tensors[name]!))
})

test('other dtypes, orders and versions of NumPy are read', () => {
  const decoded = (bytes: Uint8Array) => {
    const { dtype, shape, data } = decodeNpy(bytes, 'x')
    return `${dtype} [${shape}] ${[...data]}`
  }
  expect(decoded(npyOf(dict('<f8', '(2,)'), Float64Array.of(0.5, 1e300))), 'float32 [2] 0.5,Infinity')
  expect(decoded(npyOf(dict('<i8', '(1, 2)'), BigInt64Array.of(-5n, 7n), 2)), 'int32 [1,2] -5,7')
  expect(decoded(npyOf(dict('|b1', '()'), Uint8Array.of(1), 3)), 'int32 [] 1')
  expect(decoded(npyOf(dict('|u1', '(3, )'), Uint8Array.of(0, 128, 255))), 'int32 [3] 0,128,255')
  expect(decoded(npyOf(dict('>i2', '(2,)'), Uint8Array.of(1, 2, 255, 254))), 'int32 [2] 258,-2')
  expect(decoded(npyOf(dict('<f4', '(2, 3)', 'True'), Float32Array.of(1, 4, 2, 5, 3, 6))), 'float32 [2,3] 1,2,3,4,5,6')
})

test('broken files are named in one line', async () => {
  const good = encodeNpy({ dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) })
  const broken: [string, Uint8Array, RegExp][] = [
    ['empty', new Uint8Array(), /is no \.npy file/],
    ['text', new TextEncoder().encode('no array in this file at all'), /is no \.npy file/],
    ['short', good.slice(0, -1), /has 7 bytes of values; shape \(2\) of <f4 takes 8/],
    ['long', Uint8Array.of(...good, 0), /has 9 bytes/],
    ['cut header', good.slice(0, 40), /cut off inside its header/],
    ['version', Uint8Array.of(...good.slice(0, 6), 9, ...good.slice(7)), /version 9/],
    ['objects', npyOf(dict('|O', '(2,)'), Uint8Array.of(1, 2)), /dtype \|O/],
    ['complex', npyOf(dict('<c8', '(1,)'), Float64Array.of(1)), /dtype <c8/],
    ['records', npyOf("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", Uint8Array.of(1)), /header/],
    ['no elements', npyOf(dict('<f4', '(0, 3)'), new Float32Array()), /dims of 0/],
    ['huge shape', npyOf(dict('<f4', '(99999999999999999999,)'), Float32Array.of(1)), /shape/],
    ['large numbers', npyOf(dict('<i8', '(1,)'), BigInt64Array.of(2n ** 40n)), /holds 1099511627776/],
    ['unsigned', npyOf(dict('<u4', '(1,)'), Uint32Array.of(2 ** 31)), /holds 2147483648/],
  ]
  for (const [name, bytes, message] of broken) {
    writeFileSync(at('broken.npy'), bytes)
    const said = await loadNpy(at('broken.npy')).then(String, (error: Error) => `${error.name}: ${error.message}`)
    if (!said.startsWith(`UserError: ${at('broken.npy')}: `) || !message.test(said) || said.includes('\n'))
      throw new Error(`${name}: ${said}`)
  }
  for (const bytes of [new Uint8Array(30), zipSync({ 'a.npy': good }).slice(0, -9), zipSync({ 'a.npy': Uint8Array.of(1) })]) {
    writeFileSync(at('broken.npz'), bytes)
    const said = await loadNpz(at('broken.npz')).then(String, (error: Error) => `${error.name}: ${error.message}`)
    if (!/^UserError: .*broken\.npz/.test(said) || said.includes('\n')) throw new Error(said)
  }
})

test('NumPy reads what is written, and its files are read', async () => {
  const python = (code: string) => spawnSync('/usr/bin/python3', ['-c', code], { cwd: folder, encoding: 'utf8' })
  if (python('import numpy').status !== 0) {
    if (!quick) throw new Error('python3 has no numpy; install it (Debian: apt-get install python3-numpy)')
    return note('not compared with NumPy: Debian has it as python3-numpy')
  }
  await saveNpz(at('ours.npz'), {
    a: tensor([
      [1, 2.5],
      [3, 4],
    ]),
    b: tensor(Int32Array.of(7)),
    c: tensor(0.5),
  })
  const { status, stdout, stderr } = python(`
import numpy as np
f = np.load('ours.npz')
print(f['a'].tolist(), f['a'].dtype, f['b'].tolist(), f['b'].dtype, f['c'].shape, float(f['c']))
np.savez_compressed('theirs.npz', x=np.asfortranarray(np.arange(6.).reshape(2, 3)), y=np.array([True, False]), z=np.float16([1.5]))`)
  if (status !== 0) throw new Error(stderr)
  expect(stdout, '[[1.0, 2.5], [3.0, 4.0]] float32 [7] int32 () 0.5\n')
  const theirs = await loadNpz(at('theirs.npz'))
  expect(await told(theirs.get('x')!), 'float32 [2,3] 0,1,2,3,4,5')
  expect(await told(theirs.get('y')!), 'int32 [2] 1,0')
  expect((await told(theirs.get('z')!)).replace('float16', 'float32'), 'float32 [1] 1.5')
})

test('nothing is left beside the files', () => {
  const left = readdirSync(folder).filter((name) => !/\.np[yz]$/.test(name))
  rmSync(folder, { recursive: true })
  if (left.length > 0) throw new Error(left.join())
})

run()
