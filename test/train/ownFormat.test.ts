import sharp from 'sharp'
import * as assert from 'uvu/assert'
import { UserError } from '../../engine/index.ts'
import { checkJpeg } from '../../train/data/jpeg.ts'
import { ownFilesOf } from '../../train/data/own/format.ts'
import { suite } from '../harness/suite.ts'
import { samplesOf } from './ownFolder.ts'

// The page recognizes the format of dropped files. These tests take no device.
const { test, run } = suite('formats of own data')

test('the folder that holds all files is the data folder, and names tell the format', () => {
  const images = ownFilesOf(['flowers/daisy/1.png', 'flowers/rose/2.jpg'])
  assert.equal(images, { dir: 'flowers', format: 'images', paths: ['flowers/daisy/1.png', 'flowers/rose/2.jpg'] })
  const classes = ownFilesOf(['daisy/1.png', 'rose/2.jpg'])
  assert.equal(classes, { dir: 'dropped', format: 'images', paths: ['dropped/daisy/1.png', 'dropped/rose/2.jpg'] })
  assert.is(ownFilesOf(['train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz']).format, 'idx')
  assert.is(ownFilesOf(['cifar/data_batch_1.bin', 'cifar/test_batch.bin']).format, 'cifar-like')
  // A record file in a class folder is an image that cannot be decoded, not another format.
  assert.is(ownFilesOf(['flowers/daisy/1.bin', 'flowers/rose/2.jpg']).format, 'images')
  assert.throws(
    () => ownFilesOf([]),
    (error: Error) => error instanceof UserError && /no files/.test(error.message),
  )
})

test('a JPEG without its end is found, one with a thumbnail that has an end of its own too', async () => {
  const whole = new Uint8Array(
    await sharp(samplesOf(1, 2, 64, 48, 3), { raw: { width: 64, height: 48, channels: 3 } })
      .jpeg()
      .toBuffer(),
  )
  checkJpeg(whole)
  const thumbnail = Uint8Array.of(0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9)
  const nested = Uint8Array.from([...whole.subarray(0, 2), ...thumbnail, ...whole.subarray(2)])
  checkJpeg(nested)
  for (const bytes of [whole, nested])
    for (const length of [3, 40, bytes.length / 2, bytes.length - 1])
      assert.throws(() => checkJpeg(bytes.subarray(0, length)), /it ends before its (image|last marker)/)
})

run()
