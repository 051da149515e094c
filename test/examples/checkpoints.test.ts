// The example of own images, and that of PyTorch on the model that it saves.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { loadSafetensors } from '../../train/checkpoint/files.ts'
import { encodePng } from '../harness/pngFiles.ts'
import { note, quick, suite } from '../harness/suite.ts'
import { makeUser, numbersAfter } from '../harness/user.ts'

const user = makeUser()
const { test, run } = suite('examples of checkpoints')

/** Writes an image of 40 x 32 pixels with stripes in shades of one colour: channel 0 is red, 2 is blue. */
function writeStripes(path: string, channel: number, i: number): void {
  const samples = Uint8Array.from({ length: 40 * 32 * 3 }, (_, at) => {
    const [x, y, c] = [Math.floor(at / 3) % 40, Math.floor(at / 120), at % 3]
    return (c === channel ? 130 : 20) + 25 * (Math.floor((x * (i % 3) + y + i) / 4) % 4)
  })
  writeFileSync(path, encodePng({ width: 40, height: 32, depth: 8, colorType: 2, samples }))
}

test('own images: it learns them, and says of a file what paraformer predict says of it', () => {
  for (const [name, channel] of Object.entries({ blue: 2, red: 0 })) {
    mkdirSync(join(user.folder, 'stripes', name), { recursive: true })
    for (let i = 0; i < 16; i++) writeStripes(join(user.folder, 'stripes', name, `${i}.png`), channel, i)
  }
  writeStripes(join(user.folder, 'new.png'), 0, 99)
  const said = user.start(process.execPath, 'examples/ownImages.mjs', 'stripes', 'new.png')
  assert.match(said, '24 training images and 8 of test: blue, red')
  assert.ok(numbersAfter(said, /epoch 20: /)[0]! > 80, said)
  const [red] = numbersAfter(said, /new\.png: red /)
  assert.ok(red! > 80, said)
  const predicted = user.start('npx', 'paraformer', 'predict', '--checkpoint', 'model.safetensors', '--json', 'new.png')
  const [{ classes }] = JSON.parse(predicted) as [{ classes: { name: string; probability: number }[] }]
  assert.is(classes[0]!.name, 'red')
  assert.ok(Math.abs(100 * classes[0]!.probability - red!) < 0.06, `${predicted}${said}`)
})

const works = (python: string, ...args: string[]) => spawnSync(python, args).status === 0
const pythons = ['python3', '/usr/bin/python3'].filter((python) => works(python, '--version'))
const findTorch = 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'
const withTorch = pythons.find((python) => works(python, '-c', findTorch))

if (withTorch || !quick) {
  test('PyTorch loads the model and gives its logits', () => {
    if (!withTorch) throw new Error('no python3 has torch; install it (Debian: apt-get install python3-torch)')
    const said = user.start(withTorch, 'examples/pytorch.py', 'model.safetensors')
    const [logits] = numbersAfter(said, /of /)
    const [difference] = numbersAfter(said, /difference is /)
    assert.ok(logits === 16 && difference! > 0 && difference! < 1e-5, said)
  })
} else {
  test('pytorch.py compiles and has a field for every parameter', async () => {
    note('examples/pytorch.py was compiled but not run: no python3 here has torch (Debian: apt-get install python3-torch)')
    const python = readFileSync('examples/pytorch.py', 'utf8')
    for (const program of pythons.slice(0, 1)) user.start(program, '-m', 'py_compile', 'examples/pytorch.py')
    const { tensors } = await loadSafetensors(join(user.folder, 'model.safetensors'))
    const fields = new Set([...tensors.keys()].flatMap((name) => name.split('.')).filter((part) => !/^\d+$/.test(part)))
    // PyTorch's own layers have these.
    for (const own of ['weight', 'bias']) fields.delete(own)
    assert.equal(
      [...fields].filter((field) => !new RegExp(`self\\.${field}\\b|"${field}":`).test(python)),
      [],
    )
  })
}

test('ends', () => user.remove())
run()
