import type { Capabilities } from '../../kernels/spec.ts'
import type { Source } from './source.ts'

/** A message of a compiling process: it is ready, it has compiled a shader (or why not) and all of them, or it cannot open the device. */
export type FromIsaProcess =
  | { kind: 'ready'; name: string; driver: string; capabilities: Capabilities }
  | { kind: 'compiled'; index: number; error: string | undefined }
  | { kind: 'done' }
  | { kind: 'closed'; reason: string }

/** The shaders that a compiling process has to compile. */
export interface ToIsaProcess {
  sources: readonly Source[]
}

/** A line between the listings of shaders. */
export function markOf(index: number | 'end'): string {
  return `\n@@paraformer ${index}\n`
}
