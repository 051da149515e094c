import { join } from 'node:path'
import * as v from 'valibot'
import { amount, count, fields, listOf, text } from '../../../engine/base/json.ts'
import { type Figure, logDomain, type Row } from './figure.ts'
import { type Note, readJson } from './files.ts'

const COMPRESSION = fields({
  format: v.optional(count),
  model: text,
  dataset: text,
  images: fields({ validation: count, test: count }),
  prefixes: listOf(
    fields({
      prefix: count,
      parameters: amount,
      bytes: fields({ float32: amount, float16: amount }),
      flops: amount,
      latencyMs: v.record(text, amount, 'milliseconds by batch'),
      validation: amount,
      test: amount,
    }),
  ),
  exits: listOf(fields({ threshold: amount, accuracy: amount, flops: amount, branches: amount })),
  tolerance: amount,
  chosen: count,
})

/** The content of compression.json. */
export type Compression = v.InferOutput<typeof COMPRESSION>

/** Reads the results of `paraformer compress` in a folder, if they are there. @throws UserError when they are of a newer format */
export function readCompression(folder: string, note: Note): Promise<Compression | undefined> {
  return readJson(join(folder, 'compression.json'), COMPRESSION, note)
}

/** Draws the accuracy of prefixes and of early exits over what they cost, and the latency of prefixes. */
export function compressionFigures(name: string, found: Compression): Figure[] {
  const { prefixes, exits, chosen, tolerance, images } = found
  if (prefixes.length === 0) return []
  const rows: Row[] = [
    ...prefixes.map(({ prefix, flops, test }) => ({ kind: 'prefixes', label: `${prefix}`, flops, accuracy: test })),
    ...exits.map(({ threshold, flops, accuracy }) => ({ kind: 'early exits', label: `> ${threshold}`, flops, accuracy })),
  ]
  const batches = Object.keys(prefixes[0]!.latencyMs)
  const latencies: Row[] = prefixes.flatMap(({ prefix, latencyMs }) =>
    Object.entries(latencyMs).map(([batch, ms]) => ({ prefix, batch: `${batch} ${batch === '1' ? 'image' : 'images'}`, ms })),
  )
  const kept = prefixes.find(({ prefix }) => prefix === chosen)
  const whole = prefixes.at(-1)!
  const kinds = { domain: ['prefixes', 'early exits'], range: ['var(--arm1)', 'var(--arm2)'] }
  const series = { field: 'kind', type: 'nominal', title: null, legend: { symbolType: 'stroke', symbolSize: 500 } }
  const batch = { ...series, field: 'batch' }
  return [
    {
      title: `Compression of ${name}: accuracy over FLOPs of an image`,
      description:
        `Test accuracy of every prefix, and of exits by confidence, on ${images.test} test images. ` +
        (kept
          ? `The smallest prefix within ${tolerance} points on ${images.validation} validation images is ${chosen} of ${prefixes.length} branches: ` +
            `${(whole.parameters / kept.parameters).toFixed(2)}x fewer parameters, ${(whole.flops / kept.flops).toFixed(2)}x fewer FLOPs.`
          : ''),
      spec: {
        data: { values: rows },
        width: 760,
        height: 300,
        layer: [
          {
            mark: { type: 'line', point: { size: 45 }, strokeWidth: 1.6 },
            encoding: {
              x: costAxis(rows),
              y: accuracyAxis,
              color: { ...series, scale: kinds },
              strokeDash: {
                ...series,
                scale: {
                  ...kinds,
                  range: [
                    [1, 0],
                    [5, 3],
                  ],
                },
              },
            },
          },
          {
            mark: { type: 'text', dy: -10, fontSize: 10, color: 'var(--ink)' },
            encoding: { x: costAxis(rows), y: accuracyAxis, text: { field: 'label' } },
          },
        ],
      },
      table: {
        columns: [
          'prefix',
          'parameters',
          'bytes',
          'bytes in float16',
          'FLOPs',
          ...batches.map((batch) => `ms, batch ${batch}`),
          'validation',
          'test',
        ],
        rows: [
          ...prefixes.map((entry) => [
            entry.prefix === chosen ? `${entry.prefix} (kept)` : String(entry.prefix),
            entry.parameters,
            entry.bytes.float32,
            entry.bytes.float16,
            entry.flops,
            ...batches.map((batch) => entry.latencyMs[batch]),
            entry.validation,
            entry.test,
          ]),
          ...exits.map((exit) => [
            `exit above ${exit.threshold}`,
            undefined,
            undefined,
            undefined,
            exit.flops,
            ...batches.map(() => undefined),
            undefined,
            exit.accuracy,
          ]),
        ],
      },
    },
    {
      title: `Compression of ${name}: latency of prefixes`,
      description: 'Median milliseconds of a forward pass of each prefix, by the number of images in a batch.',
      spec: {
        data: { values: latencies },
        width: 760,
        height: 220,
        mark: { type: 'line', point: { size: 45 } },
        encoding: {
          x: { field: 'prefix', type: 'quantitative', title: 'branches', axis: { tickMinStep: 1, format: 'd' } },
          y: { field: 'ms', type: 'quantitative', title: 'milliseconds' },
          color: {
            ...batch,
            scale: { range: ['var(--arm1)', 'var(--arm2)', 'var(--arm3)'] },
          },
          strokeDash: batch,
        },
      },
      table: { columns: ['prefix', 'batch', 'ms'], rows: latencies.map((row) => [row.prefix, row.batch, row.ms]) },
    },
  ]
}

const accuracyAxis = {
  field: 'accuracy',
  type: 'quantitative',
  title: 'test accuracy',
  scale: { zero: false },
  axis: { format: '.1%' },
}

function costAxis(rows: readonly Row[]) {
  const domain = logDomain(rows.map(({ flops }) => Number(flops)).filter((flops) => flops > 0))
  return {
    field: 'flops',
    type: 'quantitative',
    title: 'FLOPs of an image',
    scale: { type: 'log', domain, nice: false },
    axis: { format: '~s' },
  }
}
