import type { Compression } from '../study/compress/compress.ts'
import type { Written } from '../study/compress/cut.ts'
import { printable } from './printable.ts'
import { compact, percent, table } from './table.ts'

/** Returns the tables of a compression: prefixes, exits, and what was written. @param results path of the results */
export function compressionReport(found: Compression, written: Written & { file: string }, results: string): string {
  const { prefixes, exits, order, images, unordered, tolerance } = found
  const batches = Object.keys(prefixes[0]!.latencyMs)
  const whole = prefixes.at(-1)!
  const rows = prefixes.map(({ prefix, parameters, bytes, flops, latencyMs, validation, test }, i) => [
    String(prefix),
    String(order[i]! + 1),
    percent(validation),
    percent(test),
    compact(parameters),
    compact(bytes.float32),
    compact(bytes.float16),
    compact(flops),
    ...batches.map((B) => `${latencyMs[Number(B)]!.toFixed(2)} ms`),
  ])
  const head = ['prefix', 'adds branch', 'validation', 'test', 'parameters', 'bytes', 'in float16', 'FLOPs/image']
  const lines = [
    table([...head, ...batches.map((B) => `batch ${B}`)], rows),
    `on ${images.validation} validation and ${images.test} test images; latency is the median of interleaved runs`,
  ]
  if (unordered) {
    lines.push(`test accuracy in the order of training: ${unordered.test.map(percent).join(', ')}`)
  }
  const flops = whole.flops
  const exitRows = exits.map((exit) => [
    String(exit.threshold),
    percent(exit.accuracy),
    compact(Math.round(exit.flops)),
    percent(exit.flops / flops),
    exit.branches.toFixed(2),
  ])
  lines.push('', table(['exit above', 'test', 'FLOPs/image', 'of the whole', 'branches'], exitRows), '')
  const kept = prefixes[written.prefix - 1]!
  lines.push(
    `${printable(written.file)}: ${written.prefix} of ${prefixes.length} branches in ${written.dtype}, ${percent(written.test)} on test images ` +
      `(whole: ${percent(whole.test)}); ${(whole.parameters / kept.parameters).toFixed(2)}x fewer parameters, ` +
      `${(flops / kept.flops).toFixed(2)}x fewer FLOPs; tolerance ${tolerance} points on validation images`,
    `results: ${printable(results)}`,
  )
  return lines.join('\n')
}
