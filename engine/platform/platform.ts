import * as platform from '#platform'
import type * as browser from './browser.ts'
import type * as node from './node.ts'
import type { Platform } from './types.ts'

/**
 * The platform that runs this, in types that name no module of Node or of browsers: the package's declarations need neither. The
 * compiler checks here that both implement all of `Platform`.
 */
const current: Platform = platform as typeof node | typeof browser

/** Reads and writes files, where the platform has them. */
export const files = current.files

/** Lists every adapter that `requestDevice` can take, with the default one first. */
export const listAdapters = current.listAdapters
