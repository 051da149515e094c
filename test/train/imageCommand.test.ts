import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { decodeSafetensors, encodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { expectUserError, runCli } from '../harness/cli.ts'
import { withOrientation } from '../harness/jpegFiles.ts'
import { encodePng } from '../harness/pngFiles.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'

// `paraformer predict` on image files: broken ones, and kinds that must give the same classes.
const { test, run } = suite('image command')
const folder = mkdtempSync(join(tmpdir(), 'paraformer-images-'))
const path = (name: string) => join(folder, name)
const checkpoint = path('model.safetensors')

const { tensors, metadata } = decodeSafetensors(readFileSync('test/golden/paraformer-paper-cls.safetensors'), 'golden')
const config = JSON.parse(metadata.config!)
const channels = Array.from({ length: config.channels }, () => 0.5)
const parameters = [...tensors].filter(([key]) => key.startsWith('params.'))
writeFileSync(
  checkpoint,
  encodeSafetensors(new Map(parameters.map(([key, entry]) => [key.slice(7), entry])), {
    config: metadata.config!,
    data: JSON.stringify({ dataset: 'mnist', mean: channels, std: channels }),
  }),
)

const [width, height] = [40, 24]
const samples = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7 + (i >> 5) * 3) % 256)
const png = encodePng({ width, height, depth: 8, colorType: 2, samples })
const raw = () => sharp(samples, { raw: { width, height, channels: 3 } })
const jpeg = new Uint8Array(await raw().jpeg({ quality: 95 }).toBuffer())

/** Registers a test that predict refuses a file with one line, before it opens a device. */
function refuses(title: string, bytes: Uint8Array | undefined, message: RegExp): void {
  test(title, () => {
    const file = path(`${title.replaceAll(' ', '-')}.png`)
    if (bytes) writeFileSync(file, bytes)
    const good = path('good.png')
    writeFileSync(good, png)
    return expectUserError(['predict', '--checkpoint', checkpoint, good, file, good], message)
  })
}
const text = (words: string) => new TextEncoder().encode(words)
refuses('missing', undefined, /missing\.png: no such file/)
refuses('empty', new Uint8Array(0), /empty\.png: empty, not an image/)
refuses('text', text('this is a text'), /text\.png: neither PNG, JPEG, GIF nor WebP/)
refuses('vectors', text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'), /vectors\.png: neither PNG/)
refuses('a cut PNG', png.subarray(0, png.length - 60), /a-cut-PNG\.png: corrupt, truncated or too large PNG \(it ends/)
refuses('a cut JPEG', jpeg.subarray(0, jpeg.length >> 1), /a-cut-JPEG\.png: corrupt, truncated or too large JPEG/)
refuses('a header alone', png.subarray(0, 33), /corrupt, truncated or too large PNG/)
refuses(
  'a spoiled byte',
  png.map((byte, i) => (i === 60 ? byte ^ 8 : byte)),
  /the checksum of chunk IDAT is wrong/,
)
for (const size of [
  [0, 24],
  [40, 0],
  [100_000, 100_000],
] as const) {
  const bytes = encodePng({ width, height, depth: 8, colorType: 2, samples, size })
  refuses(`of size ${size.join(' by ')}`, bytes, /corrupt, truncated or too large PNG/)
}
test('a folder without images', () => {
  mkdirSync(path('folder.png'))
  writeFileSync(path('folder.png/notes.txt'), 'no image')
  return expectUserError(
    ['predict', '--checkpoint', checkpoint, path('folder.png')],
    /folder\.png: a folder without images; name/,
  )
})
test('a device without end', () => {
  symlinkSync('/dev/zero', path('zeros.png'))
  return expectUserError(['predict', '--checkpoint', checkpoint, path('zeros.png')], /zeros\.png: longer than 1000000000 bytes/)
})

type Result = { file: string; classes: { class: number; probability: number }[] }

async function predict(files: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await runCli(['predict', '--checkpoint', checkpoint, '--json', '--top', '10', ...files], {
    env,
  })
  if (code !== 0) throw new Error(`code ${code}: ${stderr}`)
  return JSON.parse(stdout) as Result[]
}

test('the same pixels give the same classes, whatever holds them', async () => {
  const turned = sharp(jpeg).rotate(-90).raw()
  const same: Record<string, Uint8Array> = {
    'plain.png': png,
    'interlaced.png': encodePng({ width, height, depth: 8, colorType: 2, samples, interlaced: true }),
    'lossless.webp': await raw().webp({ lossless: true }).toBuffer(),
    'wrong.jpg': png,
  }
  for (const [name, bytes] of Object.entries(same)) writeFileSync(path(name), bytes)
  const results = await predict(Object.keys(same).map(path))
  for (const result of results) equal(result.classes, results[0]!.classes, result.file)
  equal(
    results.map(({ file }) => file),
    Object.keys(same).map(path),
    'files in their order',
  )
  // The image is stored turned to the left, with an orientation that turns it right.
  const { data, info } = await turned.toBuffer({ resolveWithObject: true })
  const left = encodePng({ width: info.width, height: info.height, depth: 8, colorType: 2, samples: data })
  writeFileSync(path('upright.jpg'), jpeg)
  writeFileSync(
    path('left.jpg'),
    withOrientation(new Uint8Array(await sharp(left).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer()), 6),
  )
  const [upright, noted] = await predict([path('upright.jpg'), path('left.jpg')])
  const of = ({ classes }: Result) => classes.toSorted((a, b) => a.class - b.class).map(({ probability }) => probability)
  for (const [i, probability] of of(upright!).entries()) {
    if (!(Math.abs(probability - of(noted!)[i]!) < 0.02))
      throw new Error(`${JSON.stringify(upright)}\n${JSON.stringify(noted)}`)
  }
})

test('more images than are computed at once', async () => {
  const files = Array.from({ length: 150 }, (_, i) => {
    const own = samples.map((value) => (value + i) % 256)
    writeFileSync(path(`${i}.png`), encodePng({ width, height, depth: 8, colorType: 2, samples: own }))
    return path(`${i}.png`)
  })
  const all = await predict(files)
  const some = await predict([files[0]!, files[149]!])
  equal([all[0], all[149]], some, 'the first and the last, alone and among others')
})

test('standard input is an image, or paths of files and folders', async () => {
  const inside = path('inside')
  mkdirSync(join(inside, 'deeper'), { recursive: true })
  for (const name of ['b.PNG', 'a.png', 'deeper/c.png']) writeFileSync(join(inside, name), png)
  writeFileSync(join(inside, 'notes.txt'), 'no image')
  const piped = async (stdin: string | Uint8Array) => {
    const result = await runCli(['predict', '--checkpoint', checkpoint, '--json', '-'], { stdin })
    return { ...result, found: result.code === 0 ? (JSON.parse(result.stdout) as Result[]) : [] }
  }
  const all = await piped(`${inside}\r\n\n${path('good.png')}`)
  equal(
    all.found.map(({ file }) => file),
    [...['a.png', 'b.PNG', 'deeper/c.png'].map((name) => join(inside, name)), path('good.png')],
    all.stderr,
  )
  const image = await piped(png)
  equal(image.found, [{ ...all.found[0], file: '-' }], image.stderr)
  for (const wrong of [new Uint8Array(0), Uint8Array.of(0, 1, 2), Uint8Array.of(0xff, 0xfe)]) {
    const { code, stderr } = await piped(wrong)
    if (code !== 2 || !/^paraformer: -: neither a PNG.*image nor a list of paths; pipe one of them in\n$/.test(stderr))
      throw new Error(`${code}: ${stderr}`)
  }
  await expectUserError(
    ['predict', '--checkpoint', checkpoint, '-', '-'],
    /- is standard input, which is read once; name it once/,
  )
})

test('without the decoder only images fail, and say what to install', async () => {
  const hook =
    'export const resolve = (name, context, next) => { if (name === "sharp") throw new Error("no sharp here"); return next(name, context) }'
  const code = `import { register } from 'node:module'; register('data:text/javascript,${encodeURIComponent(hook)}')`
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` }
  const { code: exit, stderr } = await runCli(['predict', '--checkpoint', checkpoint, path('plain.png')], { env })
  if (exit !== 2 || !/images cannot be decoded.*no sharp here.*npm install sharp/.test(stderr))
    throw new Error(`${exit}: ${stderr}`)
  const help = await runCli(['predict', '--help'], { env })
  if (help.code !== 0) throw new Error(help.stderr)
})

test('ends', () => rmSync(folder, { recursive: true }))
run()
