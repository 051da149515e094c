import * as platform from '#platform'
import type { Platform } from './types.ts'

// Typed apart from Node and browsers, so that declarations of the package need no module of either.

/** Reading and writing files, where the platform has them. */
export const files: Platform['files'] = platform.files

/** Every adapter that `requestDevice` can take, the one that it takes by default first. */
export const listAdapters: Platform['listAdapters'] = platform.listAdapters
