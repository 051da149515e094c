import { join } from 'node:path'
import { optional } from '../../../engine/platform/optional.ts'
import { ATTENTION, type AttentionSample } from '../../run/attention.ts'
import type { Figure } from './figure.ts'
import { type Note, readJson } from './files.ts'

/** Pixels of a side of a drawn image. */
const SIDE = 72
/** Branches that are drawn, the first ones. */
const MOST_BRANCHES = 8

/** Attention with its images as addresses that a page can show. */
export interface AttentionMaps extends Pick<AttentionSample, 'grid'> {
  images: { title: string; url: string; branches: AttentionSample['images'][number]['branches'] }[]
}

/** The fields of a run that the figure reads. */
interface AttendingRun {
  study: string | undefined
  arm: string
  seed: number | undefined
  attention: AttentionMaps | undefined
}

/** Reads attention.json in a folder, if it is there. @throws UserError when it is of a newer format */
export async function readAttention(folder: string, note: Note): Promise<AttentionMaps | undefined> {
  const path = join(folder, 'attention.json')
  const sample = await readJson(path, ATTENTION, note)
  if (!sample) return undefined
  const { channels, size, grid, images } = sample
  const pixels = channels * size * size
  const fits = images.every(
    ({ pixels: data, branches }) =>
      Buffer.from(data, 'base64').length === pixels && branches.every((weights) => weights.length === grid * grid),
  )
  if (!fits || (channels !== 1 && channels !== 3) || images.length === 0) {
    note(`${path}: its images do not have the sizes that it states; left out`)
    return undefined
  }
  const drawn = images.map(async ({ label, name, pixels: data, branches }) => ({
    title: name ?? `class ${label}`,
    url: await pngUrl(Buffer.from(data, 'base64'), channels, size),
    branches,
  }))
  return { grid, images: await Promise.all(drawn) }
}

/** Encodes bytes [C, H, W] as a PNG. @returns a data URL */
async function pngUrl(bytes: Uint8Array, channels: 1 | 3, size: number): Promise<string> {
  const { default: sharp } = await optional(import('sharp'), 'sharp', 'images of reports cannot be written')
  const area = size * size
  const interleaved = Uint8Array.from(bytes, (_, i) => bytes[(i % channels) * area + Math.floor(i / channels)]!)
  const png = await sharp(interleaved, { raw: { width: size, height: size, channels } })
    .png()
    .toBuffer()
  return `data:image/png;base64,${png.toString('base64')}`
}

/** The attention of each branch over the images, for the first run of each arm that has it. */
export function attentionFigures(runs: readonly AttendingRun[]): Figure[] {
  const seen = new Set<string>()
  return runs.flatMap((run) => {
    if (!run.attention || seen.has(`${run.study} ${run.arm}`)) return []
    seen.add(`${run.study} ${run.arm}`)
    return [attentionFigure(run, run.attention)]
  })
}

function attentionFigure({ arm, seed, study }: AttendingRun, { grid, images }: AttentionMaps): Figure {
  const count = Math.min(MOST_BRANCHES, images[0]!.branches.length)
  const columns = ['image', ...Array.from({ length: count }, (_, i) => `branch ${i + 1}`)]
  const cell = SIDE / grid
  const rows = images.map(({ title }, i) => `${i + 1}. ${title}`)
  const pictures = rows.flatMap((row, i) => columns.map((column) => ({ row, column, url: images[i]!.url })))
  const weights = images.flatMap(({ branches }, i) =>
    branches.slice(0, count).flatMap((own, branch) => {
      const most = Math.max(...own, Number.MIN_VALUE)
      return own.map((weight, t) => ({
        ...{ row: rows[i]!, column: columns[branch + 1]!, share: weight / most, weight },
        ...{
          x: (t % grid) * cell,
          x2: ((t % grid) + 1) * cell,
          y: Math.floor(t / grid) * cell,
          y2: (Math.floor(t / grid) + 1) * cell,
        },
      }))
    }),
  )
  const place = (field: string) => ({ field, type: 'quantitative', scale: { domain: [0, SIDE] }, axis: null })
  const name = study === undefined || seed === undefined ? arm : `${arm}, seed ${seed}`
  return {
    title: `Attention of ${name}: where the CLS token of each branch looks`,
    description:
      'The weight of each patch in the last attention layer of each branch, a mean over its heads; the strongest patch of a picture is opaque. ' +
      `Images are the first of their classes that are evaluated.${images[0]!.branches.length > count ? ` The first ${count} branches are shown.` : ''}`,
    spec: {
      data: { values: [...pictures, ...weights] },
      facet: {
        row: { field: 'row', type: 'nominal', title: null, sort: rows, header: { labelAngle: 0, labelAlign: 'left' } },
        column: { field: 'column', type: 'nominal', title: null, sort: columns },
      },
      spacing: 6,
      spec: {
        width: SIDE,
        height: SIDE,
        view: { stroke: null },
        layer: [
          {
            transform: [{ filter: 'isValid(datum.url)' }],
            mark: { type: 'image', width: SIDE, height: SIDE },
            encoding: { x: { value: SIDE / 2 }, y: { value: SIDE / 2 }, url: { field: 'url' } },
          },
          {
            transform: [{ filter: 'isValid(datum.weight)' }],
            mark: { type: 'rect', color: 'var(--arm2)' },
            encoding: {
              x: place('x'),
              x2: { field: 'x2' },
              y: { ...place('y'), scale: { domain: [0, SIDE], reverse: true } },
              y2: { field: 'y2' },
              opacity: { field: 'share', type: 'quantitative', scale: { domain: [0, 1], range: [0, 0.85] }, legend: null },
            },
          },
        ],
      },
    },
    table: {
      columns: ['image', 'branch', 'patch', 'weight'],
      rows: images.flatMap(({ branches }, i) =>
        branches.slice(0, count).flatMap((own, branch) => own.map((weight, t) => [rows[i]!, branch + 1, t + 1, weight])),
      ),
    },
  }
}
