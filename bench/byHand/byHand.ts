import {
  type Captured,
  capture,
  type Device,
  noGrad,
  randn,
  requestDevice,
  scaledDotProductAttention,
  scope,
  type Tensor,
} from '../../engine/index.ts'
import { announce } from '../../train/cli/device.ts'
import { table } from '../../train/cli/table.ts'
import { normDifference, quantiles } from '../statistics.ts'
import type { ByHandFlags } from './flags.ts'

/** The largest difference of results of both ways, relative to their norm. */
const TOLERANCE = 1e-5
/** Rounds that are timed at least. */
const MIN_ROUNDS = 5

/** Attention of a shape in both ways. */
export interface ByHandRow {
  shape: number[]
  pass: 'forward' | 'with gradients'
  /** Milliseconds, medians. */
  fused: number
  byHand: number
  /** Time by hand over that of the fused ops, the median of the ratios round by round. */
  ratio: number
}

/** A captured way, whose results are those of its last run. */
type Way = Captured<[], Tensor[]>

/** Runs `paraformer bench byHand`. @throws Error when both ways differ */
export async function benchByHand({ shapes, time, quick, adapter, json }: ByHandFlags): Promise<void> {
  const device = await requestDevice({ adapter })
  try {
    announce(device)
    const rows: ByHandRow[] = []
    for (const shape of shapes) rows.push(...(await timeShape(device, shape, quick ? 0 : time)))
    if (json) return console.log(JSON.stringify(rows, null, 2))
    const cells = rows.map(({ shape, pass, fused, byHand, ratio }) => [
      ...[shape.join(' x '), pass, fused.toFixed(2), byHand.toFixed(2), `${ratio.toFixed(2)}x`],
    ])
    console.log(table(['B x H x T x D', 'pass', 'fused, ms', 'by hand, ms', 'by hand / fused'], cells))
  } finally {
    device.destroy()
  }
}

async function timeShape(device: Device, shape: number[], time: number): Promise<ByHandRow[]> {
  const [q, k, v] = Array.from({ length: 3 }, () => randn(shape, { requiresGrad: true })) as [Tensor, Tensor, Tensor] // [B, H, T, D]
  const cotangent = randn(shape)
  const ways = {
    fused: () => scaledDotProductAttention(q, k, v),
    byHand: () =>
      q
        .mul(shape[3]! ** -0.5)
        .matmul(k.transpose(-1, -2))
        .softmax(-1)
        .matmul(v),
  }
  const forward = (way: () => Tensor): Way => capture(() => noGrad(() => [way()]))
  const train = (way: () => Tensor): Way =>
    capture(() => {
      const out = way()
      out.backward(cotangent)
      const found = [out, ...[q, k, v].map(({ grad }) => grad!)]
      for (const t of [q, k, v]) t.grad = undefined
      return found
    })
  const rows: ByHandRow[] = []
  for (const [pass, make] of [
    ['forward', forward],
    ['with gradients', train],
  ] as const) {
    const [fused, byHand] = [make(ways.fused), make(ways.byHand)]
    await checkEqual(shape, fused, byHand)
    const samples: { fused: number; byHand: number }[] = []
    const began = performance.now()
    do samples.push({ fused: await timed(device, fused), byHand: await timed(device, byHand) })
    while (time > 0 && (samples.length < MIN_ROUNDS || performance.now() - began < time / 2))
    // The last timed run must be right, too.
    await checkEqual(shape, fused, byHand)
    const median = (pick: (one: (typeof samples)[number]) => number) => quantiles(samples.map(pick)).median
    rows.push({
      ...{ shape, pass, fused: median((one) => one.fused), byHand: median((one) => one.byHand) },
      ratio: median((one) => one.byHand / one.fused),
    })
    for (const way of [fused, byHand]) way.dispose()
  }
  for (const t of [q, k, v, cotangent]) t.dispose()
  return rows
}

async function timed(device: Device, way: Way): Promise<number> {
  const began = performance.now()
  scope(() => {
    way()
  })
  await device.synchronize()
  return performance.now() - began
}

async function checkEqual(shape: number[], fused: Way, byHand: Way): Promise<void> {
  const values = (way: Way) => Promise.all(scope(() => way().map((t) => t.data())))
  const [found, wanted] = [await values(fused), await values(byHand)]
  for (const [i, name] of ['values', 'dq', 'dk', 'dv'].slice(0, found.length).entries()) {
    const difference = normDifference(found[i]!, wanted[i]!)
    if (!(difference < TOLERANCE))
      throw new Error(`attention ${shape.join(' x ')}: ${name} of both ways differ by ${difference}`)
  }
}
