import { decodeImage, files } from '#platform'
import { decodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { suite } from '../harness/suite.ts'

// The platform's image decoder, in Node and in browsers; test/train/images*.test.ts tests what is built on it.
const { test, run } = suite('image decoder')

test("a file has Pillow's pixels, whatever decodes it", async () => {
  const path = 'test/golden/images.safetensors'
  const golden = decodeSafetensors(await files.read(path), path).tensors
  const wrong: string[] = []
  let compared = 0
  for (const [key, file] of golden) {
    if (!key.startsWith('file.')) continue
    const name = key.slice(5)
    const { data: expected, shape } = golden.get(`pixels.${name}`)!
    const [channels, height, width] = shape as [number, number, number]
    const image = await decodeImage(file.data as Uint8Array, 1e6)
    if (image.width !== width || image.height !== height) wrong.push(`${name}: ${image.width}x${image.height}`)
    let worst = 0
    for (let pixel = 0; pixel < width * height; pixel++) {
      for (let c = 0; c < image.channels; c++) {
        const value = Number(expected[(channels === 1 ? 0 : c) * width * height + pixel])
        worst = Math.max(worst, Math.abs(image.data[pixel * image.channels + c]! - value))
      }
    }
    if (!(worst <= 3)) wrong.push(`${name}: off by ${worst}`)
    compared++
  }
  if (compared < 5) wrong.push(`only ${compared} files were compared`)
  if (wrong.length > 0) throw new Error(wrong.join('; '))
})

test('what is corrupt, cut, or too large is an error', async () => {
  const path = 'test/golden/images.safetensors'
  const golden = decodeSafetensors(await files.read(path), path).tensors
  const file = golden.get('file.rgb.png')!.data as Uint8Array
  for (const [bytes, most] of [
    [file, 100],
    [new Uint8Array(100), 1e6],
    [file.subarray(0, 20), 1e6],
  ] as const) {
    const image = await decodeImage(bytes, most).catch(() => undefined)
    if (image) throw new Error(`${bytes.length} bytes became ${image.width}x${image.height} pixels of at most ${most}`)
  }
})

run()
