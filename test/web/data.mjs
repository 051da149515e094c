import { spawn } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import * as assert from 'uvu/assert'
import {
  CLI,
  cli,
  download,
  drop,
  fill,
  give,
  metadataOf,
  pngOf,
  ready,
  reset,
  status,
  tensorsOf,
  test,
  trouble,
  visit,
  work,
  writeClasses,
} from './harness.mjs'

/** Settings of a run on own images. */
const OWN = { branches: '2', dim: '16', epochs: '20', batchSize: '8', lr: '0.01', seed: '3' }

let made
/** Writes a folder of 12 classes: PNG and JPEG, gray and colour, none square. @returns its path */
function folder() {
  made ??= (async () => {
    // It imports sharp, which Node finds from below this folder alone.
    const outfile = '.build/web/ownFolder.mjs'
    await build({
      entryPoints: ['test/train/ownFolder.ts'],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
      logLevel: 'warning',
    })
    const { writeFolder } = await import(pathToFileURL(outfile))
    const path = join(work, 'animals')
    await writeFolder(path)
    return path
  })()
  return made
}

test('a folder of 12 classes trains, goes on after a reload with the same bits, and predicts as Node does', async () => {
  const path = await folder()
  const { page, close } = await visit()
  const train = async (name) => {
    await give(page, '#open-folder', path)
    await status(page, /^The data is here/)
    assert.match(await page.locator('#own-data').textContent(), /^animals: 72 images$/)
    await fill(page, OWN)
    await page.click('#start')
    if (name === 'stopped') {
      await status(page, /^Training/)
      await page.click('#start')
      await status(page, /^Paused after mini-batch \d+ of 140/)
      await page.click('#step')
      await page.reload()
      await status(page, /^Paused after mini-batch \d+ of 140/)
      await page.click('#start')
    }
    await status(page, /^Finished: 140/)
    return tensorsOf(await download(page, `${name}.safetensors`))
  }
  const straight = await train('straight')
  await reset(page)
  assert.is(await train('stopped'), straight)
  const checkpoint = join(work, 'stopped.safetensors')
  const { history } = JSON.parse(metadataOf(checkpoint).training)
  const { losses } = history.at(-1)
  const common = ['--checkpoint', checkpoint, '--json']
  const { prefixes } = JSON.parse(await cli('eval', ...common, '--data-dir', path))
  // Node divides the images alike; of JPEG its decoder gives other bytes by a few steps.
  for (const [k, { loss }] of prefixes.entries()) assert.ok(Math.abs(loss - losses[k]) < 0.02, `${loss}, ${losses[k]}`)
  await page.click('#tab-try')
  await page.waitForSelector('#answers .best')
  await page.selectOption('#source', 'run')
  await page.waitForFunction(() => /^Answers: the run/.test(document.getElementById('model-name').textContent))
  const image = join(path, 'bee', '0.png')
  await drop(page, '#try', image)
  const [{ classes }] = JSON.parse(await cli('predict', '--checkpoint', checkpoint, '--json', image))
  const [{ name, probability }] = classes
  // The file is a PNG, whose pixels are the same in both.
  const expected = [name, `${(100 * probability).toFixed(1)} %`]
  await page.waitForFunction(
    (texts) => [...document.querySelectorAll('#answers .best')].map((node) => node.textContent).join() === texts.join(),
    expected,
  )
  await close()
})

test('a broken image is named, and a button leaves such files out', async () => {
  const path = join(work, 'broken-animals')
  cpSync(await folder(), path, { recursive: true })
  const jpeg = join(path, 'dog', '1.JPG')
  writeFileSync(jpeg, readFileSync(jpeg).subarray(0, 400))
  const { page, close } = await visit()
  // A file that is dropped beside the panel leaves the page as it is.
  await drop(page, 'h1', jpeg)
  await drop(page, '#train', path)
  await status(page, /^The data is here/)
  await fill(page, { ...OWN, epochs: '1' })
  await page.click('#start')
  await page.waitForSelector('#trouble:not([hidden])')
  assert.match(await page.textContent('#trouble'), /^broken-animals\/dog\/1\.JPG: corrupt, truncated/)
  await page.click('#trouble button')
  await status(page, /^Finished: 7/)
  assert.match(await page.textContent('#notes'), /left out 1 of 72 files: broken-animals\/dog\/1\.JPG/)
  await close()
})

test('IDX files and records like those of CIFAR train; a folder without classes is refused in one line', async () => {
  const idx = join(work, 'digits')
  mkdirSync(idx)
  for (const split of ['train', 't10k'])
    for (const kind of ['images-idx3', 'labels-idx1'])
      copyFileSync(`dist/web/data/mnist/t10k-${kind}-ubyte.gz`, join(idx, `${split}-${kind}-ubyte.gz`))
  const records = (count) =>
    Uint8Array.from({ length: count * 3073 }, (_, i) => (i % 3073 === 0 ? (i / 3073) % 3 : (i * 7) % 256))
  const cifar = ['data_batch_1.bin', 'test_batch.bin'].map((name, i) => {
    writeFileSync(join(work, name), records(i === 0 ? 60 : 20))
    return join(work, name)
  })
  const { page, close } = await visit()
  await give(page, '#open-folder', idx)
  await status(page, /^The data is here/)
  await fill(page, { ...OWN, patchSize: '14', batchSize: '64', epochs: '1' })
  await page.click('#start')
  await status(page, /^Finished: 15/)
  await reset(page)
  await give(page, '#open-files', cifar)
  await status(page, /^The data is here/)
  assert.match(await page.locator('#own-data').textContent(), /^dropped: 2 files, records like those of CIFAR$/)
  await fill(page, { ...OWN, patchSize: '8', epochs: '1' })
  await page.click('#start')
  await status(page, /^Finished: 7/)
  await reset(page)
  const wrong = join(work, 'notes.txt')
  writeFileSync(wrong, 'no image')
  await give(page, '#open-files', wrong)
  assert.match(await trouble(page), /^dropped: holds no folders; put the images of each class into a folder/)
  assert.is(await page.textContent('#status'), 'No run yet.')
  await close()
})

test('a run of Node goes on in the page, and a model of Node is fine-tuned', async () => {
  const out = join(work, 'node-run')
  const sizes = ['--dim', '16', '--heads', '1', '--mlp-dim', '32', '--patch-size', '14', '--branches', '2']
  const flags = [...sizes, '--train-images', '640', '--test-images', '50', '--epochs', '60', '--save-every', '10']
  const run = spawn(process.execPath, [CLI, 'train', ...flags, '--out', out, '--adapter', 'swiftshader'])
  const checkpoint = join(out, 'checkpoint.safetensors')
  while (!existsSync(checkpoint)) await new Promise((resolve) => setTimeout(resolve, 20))
  run.kill('SIGINT')
  await new Promise((resolve) => run.once('exit', resolve))
  const { position } = JSON.parse(metadataOf(checkpoint).training)
  const { page, close } = await visit()
  await give(page, '#open-files', checkpoint)
  await status(page, new RegExp(`^Paused after mini-batch ${position.step} of 600`))
  assert.is(await page.inputValue('#settings [name=patchSize]'), '14')
  await page.click('#step')
  await status(page, new RegExp(`^Paused after mini-batch ${position.step + 1} of 600`))
  // A reload goes on with it, too.
  await page.reload()
  await status(page, new RegExp(`^Paused after mini-batch ${position.step + 1} of 600`))
  await reset(page)
  await give(page, '#open-files', 'web/model/mnist.safetensors')
  await page.waitForSelector('#initial:not([hidden])')
  assert.ok(await page.isDisabled('#settings [name=branches]'))
  await fill(page, { epochs: '1', lr: '0.00001' })
  await page.click('#start')
  await status(page, /^Paused|^Training: mini-batch [1-9]/)
  await page.click('#start')
  await status(page, /^Paused after/)
  // A model that has learned begins with a small loss, where fresh parameters begin near log(10).
  await page.waitForSelector('#gains .gain span')
  const gains = await page.locator('#gains .gain span').allTextContents()
  assert.ok(Number(gains[0]) > 1, gains.join())
  await close()
})

test('14, 15: files that are no data are refused at once, in the words of the page, and the data before them stays', async () => {
  const good = writeClasses(join(work, 'shapes'), ['round', 'square'])
  const one = writeClasses(join(work, 'lonely'), ['only'])
  const text = join(work, 'texts')
  for (const name of ['a', 'b']) {
    mkdirSync(join(text, name), { recursive: true })
    writeFileSync(join(text, name, 'x.txt'), 'no image')
  }
  const file = (name, bytes) => {
    writeFileSync(join(work, name), bytes)
    return join(work, name)
  }
  const odd = ['data_batch_9.bin', 'test_odd.bin'].map((name) => file(name, new Uint8Array(5000)))
  const empty = ['empty.bin', 'test_empty.bin'].map((name) => file(name, ''))
  const { page, close } = await visit()
  await ready(page)
  await give(page, '#open-folder', good)
  await status(page, /^The data is here/)
  const chosen = await page.locator('#own-data').textContent()
  assert.is(chosen, 'shapes: 20 images')
  const refused = async (input, files, pattern) => {
    await give(page, input, files)
    const message = await trouble(page)
    assert.match(message, pattern)
    assert.not.match(message, /--/)
    assert.is(await page.locator('#own-data').textContent(), chosen)
    await page.click('#tab-try')
    await page.click('#tab-train')
  }
  await refused('#open-files', file('one.png', pngOf(8, 100)), /^dropped: holds no folders/)
  await refused('#open-folder', one, /^lonely: holds only the class only/)
  await refused('#open-folder', text, /x\.txt is no image/)
  await refused('#open-files', odd, /5000 bytes are no whole number of 3073-byte records.*takes records of 3x32x32/)
  await refused('#open-files', empty, /0 bytes are no whole number/)
  const checkpoints = ['1.safetensors', '2.safetensors'].map((name) => file(name, 'nothing'))
  await refused('#open-files', checkpoints, /^give a checkpoint alone/)
  await refused('#open-files', file('UP.SAFETENSORS', 'nothing'), /^UP\.SAFETENSORS: /)
  await close()
})
