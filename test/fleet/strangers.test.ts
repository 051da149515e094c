// Who has no business in a fleet is refused in one line, and nobody is disturbed.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { connectFleet } from '../../train/fleet/connect.ts'
import { claimKey, runSubject } from '../../train/fleet/names.ts'
import { runCli } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { resultsOf, writeStudy } from '../study/studies.ts'
import { hasServer, TestFleet } from './fleetOfTest.ts'

const { test, run } = suite('strangers at a fleet')
const work = mkdtempSync(join(tmpdir(), 'paraformer-strangers-'))
const one = (stderr: string) =>
  stderr
    .split('\n')
    .filter((line) => line.startsWith('paraformer: '))
    .join('\n')

if (hasServer()) {
  const file = writeStudy(work, { arms: "{ joint: { settings: { scheme: 'joint' } } }", seeds: '[1]' })
  const fleet = await TestFleet.begin(join(work, 'server'), [
    { name: 'coordinator' },
    { name: 'w1', class: 'cpu' },
    { name: 'w2', class: 'cpu' },
  ])
  const worker = await fleet.startWorker('w1', join(work, 'w1'), ['--study', file])
  const refused = async (args: string[], what: RegExp) => {
    const { code, stderr } = await runCli(args)
    assert.is(code, 2, stderr)
    assert.match(one(stderr), what)
    assert.is(one(stderr).split('\n').length, 1, stderr)
  }

  test('credentials: none, of nobody, of another worker, in the wrong place, open to all', async () => {
    await refused(['worker', '--fleet', fleet.url], /refuses no credentials; name a file with --auth/)
    const wrong = join(work, 'wrong.token')
    writeFileSync(wrong, 'secret-of-nobody\n', { mode: 0o600 })
    await refused(['worker', '--fleet', fleet.url, '--auth', wrong], /refuses the credentials of/)
    await refused(['worker', ...fleet.flags('w1'), '--name', 'w2'], /w2/)
    await refused(['worker', '--fleet', `nats://user:password@127.0.0.1:${fleet.port}`], /no place for a password/)
    const open = join(work, 'open.token')
    writeFileSync(open, 'secret\n')
    chmodSync(open, 0o644)
    await refused(['worker', '--fleet', fleet.url, '--auth', open], /others can read it; run chmod 600/)
    await refused(['worker', '--fleet', fleet.url, '--auth', join(work, 'none')], /cannot be read/)
    await refused(['worker', '--fleet', 'http://x'], /use nats:\/\/ or tls:\/\//)
    await refused(['worker', '--fleet', 'nats://127.0.0.1:1'], /cannot be reached.*paraformer fleet up/)
    await refused(['worker', ...fleet.flags('w2'), '--name', 'w2', '--class', 'gpu'], /does not let w2 take runs of class gpu/)
    await refused(['fleet', 'status', ...fleet.flags('w2')], /keeps no fleet|credentials/)
    await refused(['worker'], /name the server with --fleet/)
  })

  test("a worker may not write another one's entry or metrics, nor offer runs", async () => {
    const connection = await connectFleet({ url: fleet.url, auth: fleet.auth('w1') }, 'w1', () => {})
    const refusals: string[] = []
    const status = connection.status()
    void (async () => {
      for await (const event of status) if (event.type === 'error') refusals.push(event.error.message)
    })()
    const subjects = ['$KV.paraformer-workers.w2', 'paraformer.metrics.w2.x', runSubject({ class: 'cpu' }, 'small', 'x')]
    for (const subject of subjects) connection.publish(subject, '{}')
    await connection.flush()
    await new Promise((resolve) => setTimeout(resolve, 200))
    assert.is(refusals.length, subjects.length, refusals.join('\n'))
    await connection.close()
  })

  test('a message of 1 GB, and messages that are none, disturb nobody: a study goes on', async () => {
    const said = await new Promise<string>((resolve) => {
      let all = ''
      const socket = connect(fleet.port, '127.0.0.1', () =>
        socket.write('CONNECT {}\r\nPUB paraformer.runs.cpu.x 1073741824\r\n'),
      )
      socket.on('data', (bytes) => {
        all += bytes
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(all))
    })
    assert.match(said, /-ERR/)
    const store = await fleet.open()
    await store.makeConsumer({ class: 'cpu' }, 30_000)
    const messages = ['no JSON', '{}', JSON.stringify({ format: 1, study: '../../etc', kind: 'run' }), 'x'.repeat(200_000)]
    for (const [i, text] of messages.entries())
      await store.streams.publish(runSubject({ class: 'cpu' }, 'small', `junk${i}`), text)
    const out = join(work, 'out')
    const { code, stderr } = await runCli(['study', 'run', file, ...fleet.flags(), '--out', out])
    assert.is(code, 0, `${stderr}\n${worker.log}`)
    assert.is(resultsOf(join(out, 'small-tiny')).length, 1)
    assert.is(worker.log.match(/^refused: .*$/gm)?.length, messages.length, worker.log)
    // An entry that is malformed ends nothing either.
    await store.claims.put(claimKey('small-tiny', 'f'.repeat(20)), '{"format":1}')
    const { code: again, stdout } = await runCli(['fleet', 'status', ...fleet.flags()])
    assert.is(again, 0)
    assert.match(stdout, /w1 +cpu/)
    await store.close()
  })

  test('settings and studies that a worker cannot take end with the reason', async () => {
    const other = writeStudy(work, {
      arms: "{ joint: { settings: { scheme: 'joint' } } }",
      seeds: '[2]',
      hypothesis: 'another',
    })
    // The worker has the file as it was: the study is another one now, and nobody takes it.
    const study = runCli(['study', 'run', other, ...fleet.flags(), '--out', join(work, 'other')], {
      onStderr: () => {},
      env: {},
    })
    while (!/left to others: study small is another one here/.test(worker.log))
      await new Promise((resolve) => setTimeout(resolve, 50))
    const { code, stdout } = await runCli(['fleet', 'cancel', 'small-tiny', ...fleet.flags()])
    assert.is(code, 0)
    assert.match(stdout, /runs of small-tiny are taken out/)
    const ended = await study
    assert.is(ended.code, 2, ended.stderr)
    assert.match(one(ended.stderr), /taken out of the fleet/)
    await refused(['fleet', 'cancel', 'nothing', ...fleet.flags()], /has no runs of nothing/)
    const timed = writeStudy(work, { more: 'exclusive: true,' })
    await refused(['study', 'run', timed, ...fleet.flags(), '--out', join(work, 'timed')], /measures times.*--worker/)
  })

  test('ends', () => fleet.end())
}
test('the folder goes', () => rmSync(work, { recursive: true, force: true }))
run()
