import { promisify } from 'node:util'
import { constants, gunzip as unzip } from 'node:zlib'
import type { Platform } from './types.ts'

const inflate = promisify(unzip)

/** Unpacks gzip with zlib. See `Platform.gunzip`. */
export const gunzip: Platform['gunzip'] = (bytes, { most = Number.POSITIVE_INFINITY, partial = false } = {}) =>
  inflate(bytes, {
    ...(most < Number.POSITIVE_INFINITY && { maxOutputLength: Math.max(1, most) }),
    ...(partial && { finishFlush: constants.Z_SYNC_FLUSH }),
  }).catch((error) => {
    if ((error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') return undefined
    throw error
  })
