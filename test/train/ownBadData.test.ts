import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { UserError } from '../../engine/base/errors.ts'
import { loadDataset } from '../../train/data/datasets.ts'
import { suite } from '../harness/suite.ts'
import { CLASSES, flat, folderMaker, write, writeFolder, writeTwoClasses } from './ownFolder.ts'
import { rejects } from './userError.ts'

// Folders of the user's own images that are refused, and files in them that are left out. These tests take no device.
const { test, run } = suite('own data that is bad')
const work = mkdtempSync(join(tmpdir(), 'paraformer-own-bad-'))
const mixed = join(work, 'mixed')
await writeFolder(mixed)
const newFolder = folderMaker(work)

const cut = flat(5).subarray(0, 40)
const badFolders: [string, (dir: string) => void, RegExp][] = [
  ['nothing', (dir) => rmSync(dir, { recursive: true }), /: no such folder; check/],
  [
    'a file',
    (dir) => write(join(dir, 'x'), '') && rmSync(dir, { recursive: true }) === undefined && write(dir, ''),
    /: is no folder; check/,
  ],
  ['no classes', (dir) => write(join(dir, 'x.png'), flat(1)), /: holds no folders; put the images of each class/],
  ['one class', (dir) => write(join(dir, 'a', 'x.png'), flat(1)), /: holds only the class a; name the folder that/],
  [
    'an empty class',
    (dir) => writeTwoClasses(dir) && mkdirSync(join(dir, 'c')),
    /\/c: holds no images; add some, or remove the folder$/,
  ],
  ['a class of one image', (dir) => writeTwoClasses(dir, 1), /: no image is left to test on; add some/],
  [
    'a broken PNG',
    (dir) => writeTwoClasses(dir) && write(join(dir, 'b', '1.png'), cut),
    /\/b\/1\.png: corrupt, truncated .*PNG \(.*; save .*; or leave out such files with --skip-broken$/,
  ],
  [
    'no image',
    (dir) => writeTwoClasses(dir) && write(join(dir, 'a', 'notes.txt'), 'text'),
    /\/a\/notes\.txt: neither PNG.* --skip-broken$/,
  ],
  [
    'an empty file',
    (dir) => writeTwoClasses(dir) && write(join(dir, 'a', '0.png'), ''),
    /\/a\/0\.png: empty, not an image.* --skip-broken$/,
  ],
  [
    'a link that leads nowhere',
    (dir) => writeTwoClasses(dir) && symlinkSync('none', join(dir, 'a', 'z')),
    /\/a\/z: is a link that leads nowhere \(ENOENT\); remove it/,
  ],
  [
    'a device',
    (dir) => writeTwoClasses(dir) && symlinkSync('/dev/zero', join(dir, 'a', 'z')),
    /\/a\/z: is neither a file nor a folder; remove it/,
  ],
  [
    'a class that leads to itself',
    (dir) => writeTwoClasses(dir) && symlinkSync('c', join(dir, 'c')),
    /\/c: is a link that leads nowhere \(ELOOP\); remove it$/,
  ],
  [
    'a class with a long name',
    (dir) => writeTwoClasses(dir) && write(join(dir, 'c'.repeat(201), '0.png'), flat(1)),
    /a class name of more than 200 characters; shorten it/,
  ],
  [
    'a strip',
    (dir) => writeTwoClasses(dir) && write(join(dir, 'a', '0.png'), flat(1, 99, 3)),
    /\/a\/0\.png: an image of 99x3 is more than 32 times as long/,
  ],
  [
    'a split without images',
    (dir) => writeTwoClasses(join(dir, 'train')) && mkdirSync(join(dir, 'test', 'a'), { recursive: true }),
    /\/test: holds no images; add class folders as in train/,
  ],
]

for (const [what, change, message] of badFolders) {
  test(`a folder with ${what} is refused in one line`, async () => {
    const dir = newFolder()
    change(dir)
    await rejects(loadDataset('images', { dir }), message, UserError)
    await rejects(loadDataset('images', { dir }), new RegExp(`^${dir}.*: .*; `), UserError)
  })
}

test('more bytes than the limit, and options that do not fit', async () => {
  await rejects(
    loadDataset('images', { dir: mixed, imageSize: 8192 }),
    /72 images \[3, 8192, 8192\] take 13\.5 GiB, more than 4; lower/,
    UserError,
  )
  await rejects(loadDataset('images'), /the data set images is your own; name its folder with --data-dir/, UserError)
  await rejects(loadDataset('images', { dir: mixed, download: true }), /nothing is fetched; leave out --download/, UserError)
  await rejects(
    loadDataset('images', { dir: mixed, testShare: 1 }),
    /--test-share 1 is not a number from 0\.01 to 0\.9/,
    UserError,
  )
  await rejects(
    loadDataset('cifar-like', { dir: mixed, recordShape: [3, 32] }),
    /--record-shape takes channels, height and width/,
    UserError,
  )
  const classNames = (CLASSES as readonly string[]).with(3, 'wolf')
  await rejects(
    loadDataset('images', { dir: mixed, classNames }),
    /holds a class dog, which the model does not know; use/,
    UserError,
  )
  await rejects(
    loadDataset('images', { dir: mixed, classNames: [...CLASSES, 'wolf'] }),
    /lacks the class wolf, which the model knows/,
    UserError,
  )
})

test('broken files are left out if asked, and named', async () => {
  const dir = newFolder()
  writeTwoClasses(dir, 6)
  for (const name of ['2.png', '3.png', 'x.txt', 'y.txt']) write(join(dir, 'a', name), cut)
  const seen: number[] = []
  const found = await loadDataset('images', {
    dir,
    skipBroken: true,
    onProgress: (done) => seen.push(done),
  })
  assert.is(found.train.count + found.test.count, 10)
  assert.equal(
    seen,
    Array.from({ length: 14 }, (_, i) => i + 1),
  )
  assert.match(found.leftOut!, /^left out 4 of 14 files: .*\/a\/.*: corrupt.*; .*; and 1 more$/)
  for (let i = 0; i < 6; i++) write(join(dir, 'a', `${i}.png`), cut)
  await rejects(
    loadDataset('images', { dir, skipBroken: true }),
    /\/a: no image of it is left to train on; add some/,
    UserError,
  )
})

test('ends', () => rmSync(work, { recursive: true }))
run()
