import { fork } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { UserError } from '../../engine/base/errors.ts'
import { newRunFolder } from '../../train/run/folder.ts'
import { RunLock } from '../../train/run/lock.ts'
import { checkSettings } from '../../train/settings.ts'
import { runCli } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { smallDisk } from './fullDisk.ts'
import { rejects } from './userError.ts'

const RACERS = 4
const TRIES = 50
const TAKEN = /run\.lock: process \d+ of \S+ trains in this folder; wait for it/

const [, , role, path] = process.argv
if (role === 'holder') {
  await RunLock.take(path!)
  process.send!('held')
  setInterval(() => {}, 1000)
} else if (role === 'racer') {
  process.send!(await race(path!))
} else runTests()

/** Takes and releases the lock repeatedly; no other process may hold it meanwhile. */
async function race(path: string): Promise<{ won: number; broken: string[] }> {
  const inside = join(dirname(dirname(path)), 'inside')
  const broken: string[] = []
  let won = 0
  for (let tries = 0; tries < TRIES; tries++) {
    const lock = await RunLock.take(path).catch((error: unknown) => {
      if (!(error instanceof UserError)) throw error
      return undefined
    })
    if (!lock) {
      await sleep(Math.random() * 2)
      continue
    }
    won++
    try {
      closeSync(openSync(inside, 'wx'))
      await sleep(Math.random() * 2)
      rmSync(inside)
    } catch (error) {
      broken.push(String(error))
    }
    await lock.release()
    try {
      // A run that does not begin removes its folder.
      if (tries % 2 === 0) rmdirSync(dirname(path))
    } catch {
      // Another process has the lock.
    }
  }
  return { won, broken }
}

/** Starts a process that takes and keeps the lock. */
async function startHolder(path: string) {
  const child = fork(fileURLToPath(import.meta.url), ['holder', path])
  await new Promise((resolve, reject) => {
    child.once('message', resolve)
    child.once('exit', (code) => reject(new Error(`the holder ended with ${code}`)))
  })
  const kill = () =>
    new Promise((resolve) => {
      child.once('exit', resolve)
      child.kill('SIGKILL')
    })
  return { pid: child.pid!, kill }
}

function runTests(): void {
  const work = mkdtempSync(join(tmpdir(), 'paraformer-lock-'))
  const { test, run } = suite('the lock of a run')
  let folders = 0
  const place = () => {
    const folder = join(work, String(folders++))
    mkdirSync(folder)
    return join(folder, 'run.lock')
  }

  test(`${RACERS} processes take it ${RACERS * TRIES} times, and never two at once, though files and folders go in between`, async () => {
    const path = join(work, 'race', 'run', 'run.lock')
    const racers = Array.from({ length: RACERS }, () => {
      const child = fork(fileURLToPath(import.meta.url), ['racer', path])
      return new Promise<{ won: number; broken: string[] }>((resolve, reject) => {
        child.once('message', (found) => resolve(found as { won: number; broken: string[] }))
        child.once('exit', (code) => reject(new Error(`a racer ended with ${code}`)))
      })
    })
    const found = await Promise.all(racers)
    equal(
      found.flatMap(({ broken }) => broken),
      [],
      'two at once',
    )
    const won = found.reduce((sum, racer) => sum + racer.won, 0)
    // How often a racer finds it free is chance; a lock that nobody gets would show.
    if (!(won >= TRIES / 2)) throw new Error(`taken ${won} times`)
  })

  test('it keeps a second process out, by name, and goes when it is released', async () => {
    const path = place()
    const lock = await RunLock.take(path)
    equal(readFileSync(path, 'utf8'), `${hostname()} ${process.pid}\n`, 'text')
    await rejects(RunLock.take(path), TAKEN, UserError)
    await lock.release()
    equal(existsSync(path), false, 'the file is there')
    const holder = await startHolder(path)
    await rejects(RunLock.take(path), new RegExp(`process ${holder.pid} of ${hostname()} trains`), UserError)
    await holder.kill()
    const after = await RunLock.take(path)
    await after.release()
  })

  test('whatever a killed process left is free: with the id of a process that lives, of another host, of nobody', async () => {
    for (const text of [`${hostname()} ${process.pid}`, `${hostname()} 1\n`, 'another-container 1\n', '', 'nonsense']) {
      const path = place()
      writeFileSync(path, text)
      const lock = await RunLock.take(path)
      equal(readFileSync(path, 'utf8'), `${hostname()} ${process.pid}\n`, `text after ${JSON.stringify(text)}`)
      await lock.release()
    }
  })

  test('a full disk takes the text, not the lock', async () => {
    const disk = smallDisk(join(work, 'disk'), 64)
    // Only root can mount a disk.
    if (!disk) return
    try {
      const path = join(disk.path, 'run.lock')
      writeFileSync(path, '')
      disk.fill()
      const lock = await RunLock.take(path)
      equal(readFileSync(path, 'utf8'), '', 'text')
      await rejects(RunLock.take(path), /run\.lock: another process trains in this folder/, UserError)
      await lock.release()
      disk.free()
      await (await RunLock.take(path)).release()
    } finally {
      disk.remove()
    }
  })

  test('a lock whose file was removed, or whose folder was moved, is taken again, or was taken by another', async () => {
    const path = place()
    const lock = await RunLock.take(path)
    await lock.hold()
    rmSync(path)
    await lock.hold()
    await rejects(RunLock.take(path), TAKEN, UserError)
    renameSync(dirname(path), `${dirname(path)}-moved`)
    const holder = await startHolder(path)
    await rejects(lock.hold(), new RegExp(`process ${holder.pid} of`), UserError)
    // Releasing a lost lock leaves the lock of the process that took it.
    await lock.release()
    equal(existsSync(path), true, 'its file')
    await holder.kill()
  })

  test('a place without room for it is refused in one line', async () => {
    const path = place()
    writeFileSync(join(dirname(path), 'file'), '')
    await rejects(RunLock.take(join(dirname(path), 'file', 'run.lock')), /cannot be written \(\w+\)/, UserError)
    mkdirSync(path)
    await rejects(RunLock.take(path), /run\.lock: is a folder/, UserError)
  })

  test('new runs at once get folders of their own, and none a folder that another one filled meanwhile', async () => {
    const before = process.cwd()
    const settings = checkSettings({})
    mkdirSync(join(work, 'runs-here'))
    process.chdir(join(work, 'runs-here'))
    try {
      const held = await Promise.all(Array.from({ length: 5 }, () => newRunFolder(undefined, settings, () => {})))
      equal(new Set(held.map(({ folder }) => folder.path)).size, 5, 'folders')
      for (const { lock } of held) await lock.release()
    } finally {
      process.chdir(before)
    }
    const asked = join(work, 'asked')
    const { folder, lock } = await newRunFolder(asked, settings, () => {})
    await rejects(
      newRunFolder(asked, settings, () => {}),
      TAKEN,
      UserError,
    )
    writeFileSync(folder.checkpoint, '')
    await lock.release()
    await rejects(
      newRunFolder(asked, settings, () => {}),
      /asked: holds a run/,
      UserError,
    )
  })

  test('--resume takes the lock before it reads the checkpoint', async () => {
    const path = place()
    // The other process is about to replace this file.
    writeFileSync(join(dirname(path), 'checkpoint.safetensors'), 'no checkpoint')
    const lock = await RunLock.take(path)
    const refused = await runCli(['train', '--resume', dirname(path)])
    if (refused.code !== 2 || !TAKEN.test(refused.stderr)) throw new Error(`code ${refused.code}: ${refused.stderr}`)
    await lock.release()
    const read = await runCli(['train', '--resume', dirname(path)])
    if (read.code !== 2 || !/checkpoint\.safetensors: /.test(read.stderr)) throw new Error(`code ${read.code}: ${read.stderr}`)
    equal(existsSync(path), false, 'the lock is left')
  })

  test('ends', () => rmSync(work, { recursive: true }))
  run()
}
