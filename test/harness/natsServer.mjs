// Finds nats-server for the tests of fleets, or takes it out of Debian's package, without installing that.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

/** The folder of a server that was fetched. */
const KEPT = resolve('.cache/nats-server')

/** Sees that nats-server is in the PATH of the processes that this one starts. @returns how to get it where it is not there */
export function provideServer() {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin']
  if (folders.some((folder) => existsSync(join(folder, 'nats-server')))) return undefined
  const own = join(KEPT, 'usr/sbin')
  if (!existsSync(join(own, 'nats-server'))) {
    const problem = fetchServer()
    if (problem)
      return `nats-server is not there, and apt-get does not give it (${problem}); install it: apt-get install nats-server`
  }
  process.env.PATH = `${process.env.PATH ?? ''}${delimiter}${own}`
  return undefined
}

/** Takes the server out of Debian's package. @returns why that does not work */
function fetchServer() {
  mkdirSync(KEPT, { recursive: true })
  const tool = (name, ...args) => execFileSync(name, args, { cwd: KEPT, stdio: ['ignore', 'ignore', 'pipe'] })
  try {
    try {
      tool('apt-get', 'download', 'nats-server')
    } catch (error) {
      if (error.code === 'ENOENT') throw error
      // A new machine does not know its packages yet, and only root can ask.
      tool('apt-get', 'update')
      tool('apt-get', 'download', 'nats-server')
    }
    const archive = readdirSync(KEPT).find((name) => name.endsWith('.deb'))
    tool('dpkg-deb', '-x', archive, '.')
    rmSync(join(KEPT, archive))
    return undefined
  } catch (error) {
    return (
      String(error.stderr ?? '')
        .trim()
        .split('\n')
        .at(-1) || error.message
    )
  }
}
