import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkWritable, writeFile } from '../../engine/platform/files.ts'
import { decodeSafetensors, encodeSafetensors } from '../../train/checkpoint/safetensors.ts'
import { runCli } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { rejects } from './userError.ts'

const work = mkdtempSync(join(tmpdir(), 'paraformer-writing-'))
let places = 0
/** Makes an empty folder. */
const place = () => {
  const folder = join(work, String(places++))
  mkdirSync(folder)
  return folder
}
const text = (path: string) => readFileSync(path, 'utf8')
const { test, run } = suite('writing files')

test('a link stays a link, and the file at its end is written: near, far, through other links and where there is none yet', async () => {
  const folder = place()
  mkdirSync(join(folder, 'far'))
  const target = join(folder, 'far', 'target')
  const links = { near: 'far/target', absolute: target, over: 'near' }
  for (const [name, to] of Object.entries(links)) symlinkSync(to, join(folder, name))
  // The link lies in a folder that is a link itself. Its target is relative to the real folder.
  mkdirSync(join(folder, 'deep'))
  symlinkSync(join(folder, 'deep'), join(folder, 'shortcut'))
  symlinkSync('../far/target', join(folder, 'deep', 'up'))
  for (const path of [...Object.keys(links), 'shortcut/up']) {
    for (const before of [undefined, 'old']) {
      rmSync(target, { force: true })
      if (before !== undefined) writeFileSync(target, before)
      await checkWritable(join(folder, path))
      equal(existsSync(target) ? text(target) : undefined, before, `${path} after the check`)
      await writeFile(join(folder, path), 'new')
      equal(lstatSync(join(folder, path)).isSymbolicLink(), true, `${path} is a link`)
      equal(text(target), 'new', path)
    }
  }
  equal(readdirSync(join(folder, 'far')), ['target'], 'files beside the target')
})

test('an existing file keeps its permissions and its owner; a new one has those of the process', async () => {
  const path = join(place(), 'file')
  await writeFile(path, 'a')
  equal(statSync(path).mode & 0o777, 0o666 & ~process.umask(), 'mode of a new file')
  chmodSync(path, 0o640)
  const root = process.getuid?.() === 0
  if (root) execFileSync('chown', ['1234:5678', path])
  await writeFile(path, 'b')
  equal(statSync(path).mode & 0o777, 0o640, 'mode')
  if (root) equal([statSync(path).uid, statSync(path).gid], [1234, 5678], 'owner')
})

test('a pipe without reader is waited for, and takes more than fits into it', async () => {
  const path = join(place(), 'pipe')
  execFileSync('mkfifo', [path])
  await checkWritable(path)
  const bytes = Uint8Array.from({ length: 1 << 20 }, (_, i) => i % 251)
  const writing = writeFile(path, bytes)
  await new Promise((resolve) => setTimeout(resolve, 50))
  const reader = spawn('cat', [path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const pieces: Buffer[] = []
  reader.stdout.on('data', (piece) => pieces.push(piece))
  await Promise.all([writing, new Promise((resolve) => reader.on('close', resolve))])
  equal(Buffer.concat(pieces).equals(bytes), true, 'bytes arrive')
  equal(lstatSync(path).isFIFO(), true, 'it is a pipe still')
})

/** A null device of this test, if this user may make one, since a failure would replace the system's. */
function nullDevice(path: string): string {
  try {
    execFileSync('mknod', [path, 'c', '1', '3'], { stdio: 'ignore' })
  } catch {
    // Users other than root cannot replace the system's device, so a link to it will do.
    symlinkSync('/dev/null', path)
  }
  return path
}

test('a device is written into and stays one', async () => {
  const folder = place()
  const device = nullDevice(join(folder, 'null'))
  symlinkSync('null', join(folder, 'link'))
  for (const path of [device, join(folder, 'link')]) {
    await checkWritable(path)
    await writeFile(path, 'gone')
    equal(statSync(device).isCharacterDevice(), true, path)
  }
  await rejects(writeFile('/dev/full', 'x'), /^\/dev\/full: cannot be written \(ENOSPC\)/)
})

test('open files are written from where they stand, be they files, pipes or sockets', async () => {
  const path = join(place(), 'open')
  const fd = openSync(path, 'w')
  for (const [i, name] of [`/dev/fd/${fd}`, `/proc/self/fd/${fd}`, `/proc/${process.pid}/fd/${fd}`].entries())
    await writeFile(name, `${i}\n`)
  closeSync(fd)
  equal(text(path), '0\n1\n2\n', 'content')
  await rejects(checkWritable(`/dev/fd/${fd}`), /is open|no such file open/)
})

test('content may come in pieces, of a list or as it is made', async () => {
  const path = join(place(), 'pieces')
  const pieces = ['ab', '', 'cde'].map((piece) => Buffer.from(piece))
  await writeFile(path, pieces)
  equal(text(path), 'abcde', 'a list')
  await writeFile(
    path,
    (async function* () {
      yield* pieces
      yield* pieces
    })(),
  )
  equal(text(path), 'abcdeabcde', 'a generator')
  const broken = (function* () {
    yield pieces[0]!
    throw new Error('half of it')
  })()
  await rejects(writeFile(path, broken), /half of it/)
  equal(text(path), 'abcdeabcde', 'what was there after a failure')
})

test('folders, links in a circle and files in the way are one line', async () => {
  const folder = place()
  symlinkSync('b', join(folder, 'a'))
  symlinkSync('a', join(folder, 'b'))
  writeFileSync(join(folder, 'file'), 'x')
  symlinkSync('.', join(folder, 'here'))
  for (const act of [(path: string) => writeFile(path, 'x'), checkWritable]) {
    await rejects(act(folder), /is a folder; name a file/)
    await rejects(act(join(folder, 'here')), /is a folder; name a file/)
    await rejects(act(`${join(folder, 'none')}/`), /is a folder; name a file/)
    await rejects(act(''), /is a folder; name a file/)
    await rejects(act(join(folder, 'a')), /leads to itself/)
    await rejects(act(join(folder, 'file', 'x')), /cannot be written \(\w+\)/)
  }
  equal(readdirSync(folder).sort(), ['a', 'b', 'file', 'here'], 'what is there')
})

test('the check changes nothing, and makes missing folders', async () => {
  const folder = place()
  const path = join(folder, 'new', 'file')
  await checkWritable(path)
  equal(readdirSync(join(folder, 'new')), [], 'files')
  writeFileSync(path, 'kept')
  const before = statSync(path)
  await checkWritable(path)
  equal([text(path), statSync(path).mtimeMs, statSync(path).ino], ['kept', before.mtimeMs, before.ino], 'the file')
})

test('what killed writers left is removed: of this process id in an earlier container, of dead ones, and of others after a day', async () => {
  const folder = place()
  const path = join(folder, 'file')
  const ago = (name: string, seconds: number) => {
    const when = Date.now() / 1000 - seconds
    writeFileSync(join(folder, name), 'half')
    utimesSync(join(folder, name), when, when)
    return name
  }
  const here = hostname()
  const hour = 3600 + process.uptime()
  ago(`.file.${here}.${process.pid}.0.tmp`, hour)
  ago(`.file.${here}.${process.pid}.abc123.tmp`, hour)
  ago(`.file.${here}.${2 ** 22 + 1}.abc123.tmp`, 1)
  ago(`.file.other.host.7.abc123.tmp`, 25 * 3600)
  const kept = [
    ago(`.file.other.host.7.abc124.tmp`, 3600),
    ago(`.file.${here}.${process.pid}.abc124.tmp`, 0),
    ago(`.file2.${here}.${2 ** 22 + 1}.abc123.tmp`, 1),
  ]
  await writeFile(path, 'whole')
  equal(readdirSync(folder).sort(), [...kept, 'file'].sort(), 'files')
})

test('long names, and a file that is mounted by itself, in a folder that takes no files too, are written', async () => {
  const folder = place()
  await writeFile(join(folder, 'n'.repeat(255)), 'x')
  const [file, outside] = [join(folder, 'mounted'), join(folder, 'outside')]
  writeFileSync(file, '')
  writeFileSync(outside, 'longer than what comes')
  try {
    execFileSync('mount', ['--bind', outside, file], { stdio: 'ignore' })
  } catch {
    // Only root can do this.
    return
  }
  try {
    await checkWritable(file)
    await writeFile(file, 'short')
    equal(text(outside), 'short', 'content')
    const readOnly = join(folder, 'readOnly')
    mkdirSync(readOnly)
    writeFileSync(join(readOnly, 'file'), '')
    const mount = (...args: string[]) => execFileSync('mount', args)
    mount('--bind', readOnly, readOnly)
    try {
      mount('--bind', outside, join(readOnly, 'file'))
      mount('-o', 'remount,bind,ro', readOnly)
      await checkWritable(join(readOnly, 'file'))
      await writeFile(join(readOnly, 'file'), 'in place')
      equal(text(outside), 'in place', 'content of the one in a folder that takes no files')
      await rejects(writeFile(join(readOnly, 'other'), 'x'), /cannot be written \(EROFS\)/)
    } finally {
      execFileSync('umount', ['-R', readOnly])
    }
  } finally {
    execFileSync('umount', [file])
  }
  equal(readdirSync(folder).length, 4, 'files')
})

// The command line.
const golden = decodeSafetensors(readFileSync('test/golden/paraformer-paper-cls.safetensors'), 'golden')
const checkpoint = join(work, 'checkpoint.safetensors')
const input = join(work, 'input.safetensors')
const parameters = [...golden.tensors].filter(([name]) => name.startsWith('params.'))
const named = new Map(parameters.map(([name, entry]) => [name.slice('params.'.length), entry] as const))
writeFileSync(checkpoint, encodeSafetensors(named, { config: golden.metadata.config! }))
writeFileSync(input, encodeSafetensors(new Map(['images', 'labels'].map((name) => [name, golden.tensors.get(name)!] as const))))
const predict = (...flags: string[]) => ['predict', '--checkpoint', checkpoint, '--input', input, ...flags]

test('predict writes --output and --gradients to the places that are named: a link, the standard output, a device', async () => {
  const folder = place()
  symlinkSync('target', join(folder, 'link'))
  writeFileSync(join(folder, 'target'), 'old')
  const device = nullDevice(join(folder, 'null'))
  const { code, stderr } = await runCli(predict('--output', join(folder, 'link'), '--gradients', device))
  if (code !== 0) throw new Error(stderr)
  equal(statSync(device).isCharacterDevice(), true, 'the device')
  equal(lstatSync(join(folder, 'link')).isSymbolicLink(), true, 'the link')
  equal(
    [...decodeSafetensors(readFileSync(join(folder, 'target')), 'target').tensors.keys()].sort(),
    ['features', 'logits'],
    'tensors',
  )
  const piped = await runCli(predict('--output', '/dev/stdout'))
  if (piped.code !== 0) throw new Error(piped.stderr)
  equal(/^.{8}\{.*"logits"/s.test(piped.stdout), true, 'what comes through a socket')
})

test('places that cannot be written are refused before anything is computed', async () => {
  const folder = place()
  writeFileSync(join(folder, 'kept'), 'kept')
  for (const [args, flag] of [
    [predict('--output', join(folder, 'kept')), '--gradients'],
    [['train', '--out', join(folder, 'run')], '--trace'],
    [['bench', 'softmax', '--quick'], '--html'],
  ] as const) {
    const { code, stderr } = await runCli([...args, flag, folder])
    if (code !== 2 || !stderr.includes(`${folder}: is a folder; name a file`)) throw new Error(`code ${code}: ${stderr}`)
  }
  equal(text(join(folder, 'kept')), 'kept', 'the other output')
  equal(readdirSync(folder), ['kept'], 'what is left')
})

test('ends', () => rmSync(work, { recursive: true }))
run()
