import type { Plugin } from 'esbuild'

export function stripWgsl(source: string): string
export const strippedWgsl: Plugin
