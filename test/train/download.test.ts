import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UserError } from '../../engine/base/errors.ts'
import { downloadFile } from '../../train/data/download.ts'
import { REMOTE_FILES } from '../../train/data/remote.ts'
import { suite } from '../harness/suite.ts'
import { equal } from './equal.ts'
import { rejects } from './userError.ts'

const { test, run } = suite('download')
const content = Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) % 251)
const bytes = content.length
const sha256 = createHash('sha256').update(content).digest('hex')

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** Downloads from a server on this machine. @returns the result, and the number of requests as `asked` */
async function download(
  answer: Answer,
  body: (
    fetchIt: (expected?: Partial<{ bytes: number; sha256: string }>) => Promise<string>,
    folder: string,
    asked: string[],
  ) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-download-'))
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(request.headers.range ?? 'all')
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/some/data.bin?version=1`
  const options = { protocols: ['http:'], pause: 1, patience: 300 }
  try {
    await body((expected) => downloadFile({ url, bytes, sha256, ...expected }, join(folder, 'new'), options), folder, asked)
  } finally {
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true })
  }
}

/** Registers a test that a download fails with one line after a number of requests, and keeps no file. */
function fails(title: string, answer: Answer, message: RegExp, requests = 1, expected = {}): void {
  test(title, () =>
    download(answer, async (fetchIt, folder, asked) => {
      const whole = new RegExp(
        `^http://127.0.0.1:\\d+/some/data.bin.*: download failed \\(.*${message.source}.*\\); nothing was kept, try again`,
      )
      await rejects(fetchIt(expected), whole, UserError)
      equal(asked.length, requests, 'requests')
      equal(existsSync(join(folder, 'new')) ? readdirSync(join(folder, 'new')) : [], [], 'files')
    }),
  )
}

/** Serves ranges as the servers of data sets do, but breaks off each answer after `most` bytes. */
const serve =
  (most = bytes, ranges = true): Answer =>
  (request, response) => {
    const from = ranges ? Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': bytes - from })
    const end = Math.min(bytes, from + most)
    if (end === bytes) response.end(content.subarray(from))
    else response.write(content.subarray(from, end), () => setTimeout(() => response.destroy(), 20))
  }

test('a file appears whole, under its own name', () =>
  download(serve(), async (fetchIt, folder) => {
    equal(await fetchIt(), join(folder, 'new', 'data.bin'), 'path')
    equal(new Uint8Array(readFileSync(join(folder, 'new', 'data.bin'))), content, 'content')
    equal(readdirSync(join(folder, 'new')), ['data.bin'], 'files')
  }))

test('a download that breaks off goes on where it ended', () =>
  download(serve(100_000), async (fetchIt, folder, asked) => {
    await fetchIt()
    equal(asked[0], 'all', 'the first request')
    equal(asked.length > 1, true, `it broke off: ${asked}`)
    equal(
      asked.slice(1).every((range) => /^bytes=[1-9]\d*-$/.test(range)),
      true,
      `further requests: ${asked}`,
    )
    equal(new Uint8Array(readFileSync(join(folder, 'new', 'data.bin'))), content, 'content')
  }))

test('a server that knows no ranges starts anew', () => {
  let attempts = 0
  const answer: Answer = (request, response) => serve(++attempts === 1 ? 100_000 : bytes, false)(request, response)
  return download(answer, async (fetchIt, folder) => {
    await fetchIt()
    equal(attempts, 2, 'attempts')
    equal(new Uint8Array(readFileSync(join(folder, 'new', 'data.bin'))), content, 'content')
  })
})

test('a busy server is asked again', () => {
  let attempts = 0
  const answer: Answer = (request, response) => (++attempts < 3 ? response.writeHead(503).end() : serve()(request, response))
  return download(answer, async (fetchIt) => {
    await fetchIt()
    equal(attempts, 3, 'attempts')
  })
})

fails('another content', serve(), /its SHA-256 is [0-9a-f]{64}, not 0{64}/, 1, { sha256: '0'.repeat(64) })
fails('no such file', (_, response) => response.writeHead(404).end(), /HTTP 404/)
fails('a server that stays broken', (_, response) => response.writeHead(500).end(), /HTTP 500/, 4)
fails('a longer file by its own words', serve(), /the server offers 300000 bytes, and it must have 1000/, 1, { bytes: 1000 })
fails(
  'a file that never ends, without a length',
  (_, response) => {
    response.writeHead(200)
    const more = () => {
      while (!response.destroyed && response.write(new Uint8Array(65536)));
      if (!response.destroyed) response.once('drain', more)
    }
    more()
  },
  /it is longer than the 300000 bytes/,
)
fails('a shorter file', (_, response) => response.end('short'), /it ended after \d+ of 300000 bytes|SHA-256/, 4)
fails('a server that says nothing', () => {}, /no byte for 0.3 s/, 4)
fails(
  'a server that stops in the middle',
  (_, response) => {
    response.writeHead(200, { 'content-length': bytes })
    response.write(new Uint8Array(10))
  },
  /no byte for 0.3 s/,
  4,
)
fails(
  'redirections without end',
  (_, response) => response.writeHead(302, { location: '/some/data.bin' }).end(),
  /more than 5 redirections/,
  6,
)
fails(
  'a redirection to another protocol',
  (_, response) => response.writeHead(302, { location: 'ftp://127.0.0.1/data.bin' }).end(),
  /ftp:\/\/127.0.0.1 is not asked, only http:/,
)

test('a redirection is followed', () => {
  const answer: Answer = (request, response) =>
    request.url === '/else' ? serve()(request, response) : response.writeHead(307, { location: '/else' }).end()
  return download(answer, async (fetchIt, folder) => equal(await fetchIt(), join(folder, 'new', 'data.bin'), 'path'))
})

test('nothing but https is asked by default, redirections too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-download-'))
  try {
    const plain = { url: 'http://127.0.0.1:1/x.bin', bytes, sha256 }
    await rejects(downloadFile(plain, folder), /http:\/\/127.0.0.1:1 is not asked, only https:/, UserError)
    const refused = { url: 'https://127.0.0.1:1/x.bin', bytes, sha256 }
    await rejects(downloadFile(refused, folder, { pause: 1 }), /download failed .*; nothing was kept/, UserError)
    equal(readdirSync(folder), [], 'files')
    for (const remote of Object.values(REMOTE_FILES).flat()) {
      equal(new URL(remote.url).protocol, 'https:', remote.url)
      equal(/^[0-9a-f]{64}$/.test(remote.sha256), true, `SHA-256 of ${remote.url}`)
      equal(remote.bytes > 1000 && remote.bytes < 200_000_000, true, `bytes of ${remote.url}`)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a folder that cannot be is said to be so', () =>
  download(serve(), async (_, folder) => {
    writeFileSync(join(folder, 'file'), '')
    const remote = { url: 'https://127.0.0.1:1/x.bin', bytes, sha256 }
    await rejects(downloadFile(remote, join(folder, 'file')), /cannot be written|ENOTDIR/, UserError)
  }))

run()
