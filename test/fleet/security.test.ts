// Connections that are encrypted, and credentials that an operator signed.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { NullMachine } from '../../bench/fleet/nullMachine.ts'
import { NullWorkers } from '../../bench/fleet/nullWorkers.ts'
import { UserError } from '../../engine/index.ts'
import { connectFleet } from '../../train/fleet/connect.ts'
import { recordSubject } from '../../train/fleet/names.ts'
import { credentialsOf, type RunningServer, startServer, writeServerFolder } from '../../train/fleet/server.ts'
import { FleetStore } from '../../train/fleet/store.ts'
import { runCli } from '../harness/cli.ts'
import { suite } from '../harness/suite.ts'
import { Operator } from './credentials.ts'
import { freePort, hasServer } from './fleetOfTest.ts'
import { BYTES, checkFiles, study } from './nullStudies.ts'

const { test, run } = suite('security of a fleet')
const CERTIFICATES = resolve('test/fleet/certificates')
const certificate = (name: string) => join(CERTIFICATES, `${name}.pem`)
const host = '127.0.0.1'
const work = mkdtempSync(join(tmpdir(), 'paraformer-security-'))

/** Fails unless a connection is refused in one line. */
async function refused(address: Parameters<typeof connectFleet>[0], what: RegExp, name = 'coordinator'): Promise<void> {
  try {
    const connection = await connectFleet(address, name, () => {})
    await connection.close()
  } catch (error) {
    assert.instance(error, UserError)
    const { message } = error as UserError
    assert.match(message, what, message)
    assert.is(message.split('\n').length, 1, message)
    return
  }
  assert.unreachable(`${address.url} was reached`)
}

/** Runs something with a server that has this certificate; none leaves connections unencrypted. */
async function withServer(
  cert: string | undefined,
  use: (port: number, auth: string, server: RunningServer) => Promise<void>,
): Promise<void> {
  const folder = join(work, cert ?? 'plain')
  const port = await freePort()
  const tls = cert === undefined ? undefined : { cert: certificate(cert), key: join(CERTIFICATES, 'server.key') }
  const config = await writeServerFolder({ folder, host, port, tls, roles: [{ name: 'coordinator' }] })
  const server = await startServer(config, join(folder, 'log'), { host, port })
  try {
    await use(port, credentialsOf(folder, 'coordinator'), server)
  } finally {
    await server.stop()
  }
}

if (hasServer()) {
  test('an encrypted connection needs the certificate of who signed that of the server', () =>
    withServer('server', async (port, auth) => {
      for (const url of [`tls://${host}:${port}`, `tls://localhost:${port}`, `nats://${host}:${port}`]) {
        const connection = await connectFleet({ url, auth, ca: certificate('ca') }, 'coordinator', () => {})
        await connection.close()
      }
      const url = `tls://${host}:${port}`
      await refused({ url, auth }, /signed by none of those.*--ca/)
      await refused({ url, auth, ca: certificate('other') }, /signed by none of those.*--ca/)
      await refused({ url: `nats://${host}:${port}`, auth }, /signed by none of those.*--ca/)
      const empty = join(work, 'empty.pem')
      writeFileSync(empty, 'no certificate\n')
      await refused({ url, auth, ca: empty }, /--ca .*empty\.pem: holds no certificate/)
      await refused({ url, auth, ca: join(work, 'none.pem') }, /--ca .*none\.pem: cannot be read/)
      const { code, stdout, stderr } = await runCli([
        'fleet',
        'status',
        '--fleet',
        url,
        '--auth',
        auth,
        '--ca',
        certificate('ca'),
      ])
      assert.is(code, 0, stderr)
      assert.match(stdout, /0 runs in the queue/)
      const none = await runCli(['fleet', 'status', '--fleet', url, '--auth', auth])
      assert.is(none.code, 2)
      assert.match(none.stderr, /^paraformer: tls:.*signed by none of those.*\n$/)
    }))

  test('a certificate that has expired, or of another name, is refused', async () => {
    await withServer('expired', (port, auth) =>
      refused({ url: `tls://${host}:${port}`, auth, ca: certificate('ca') }, /certificate has expired/),
    )
    await withServer('elsewhere', (port, auth) =>
      refused({ url: `tls://${host}:${port}`, auth, ca: certificate('ca') }, /certificate is for another name/),
    )
  })

  test('a server without encryption is refused by who wants some', () =>
    withServer(undefined, (port, auth) =>
      refused({ url: `tls://${host}:${port}`, auth, ca: certificate('ca') }, /not encrypted/),
    ))

  test('.creds files of an operator: a study is done; who expired, or is of another operator, is refused', async () => {
    const [operator, port, folder] = [new Operator(), await freePort(), join(work, 'operator')]
    const config = join(work, 'operator.conf')
    writeFileSync(config, `host: "${host}"\nport: ${port}\njetstream: { store_dir: "${folder}" }\n${operator.configuration}`)
    const file = (name: string, text: string) => {
      writeFileSync(join(work, name), text, { mode: 0o600 })
      return join(work, name)
    }
    const server = await startServer(config, join(work, 'operator.log'), { host, port })
    const url = `nats://${host}:${port}`
    try {
      const auth = file('coordinator.creds', operator.credentials('coordinator'))
      const store = await FleetStore.open(await connectFleet({ url, auth }, 'coordinator', () => {}), true)
      const crew = new NullWorkers()
      const machine = new NullMachine({ duration: () => 10, bytes: BYTES })
      file('w1.creds', operator.credentials('w1'))
      await crew.start(
        url,
        (name) => join(work, `${name}.creds`),
        ['w1'],
        () => machine,
      )
      const { outcomes, dispatcher } = await study(store, join(work, 'runs'), 0, 3)
      assert.ok((await Promise.all(outcomes)).every(({ how }) => how === 'done'))
      await dispatcher.close()
      checkFiles(join(work, 'runs'), 0, 3)
      await crew.stop()
      // The permissions of the file are the server's.
      const worker = await connectFleet({ url, auth: join(work, 'w1.creds') }, 'w1', () => {})
      await worker.request(recordSubject('w2', 'a', 'b'), '{}').then(
        () => assert.unreachable('a record of another worker was written'),
        (error: Error) => assert.match(`${error.message} ${error.cause}`, /ermission/),
      )
      await worker.close()
      await store.close()
      await refused(
        { url, auth: file('old.creds', operator.credentials('old', -10)) },
        /refuses the credentials of.*old\.creds/,
      )
      await refused(
        { url, auth: file('foreign.creds', new Operator().credentials('coordinator')) },
        /refuses the credentials of.*foreign\.creds/,
      )
      const cut = operator.credentials('cut').slice(0, 300)
      await refused({ url, auth: file('cut.creds', cut) }, /cut\.creds: holds no credentials/)
      await refused({ url }, /refuses no credentials/)
    } finally {
      await server.stop()
    }
  })
}
test('the folder goes', () => rmSync(work, { recursive: true, force: true }))
run()
