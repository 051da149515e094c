import uPlot from 'uplot'
import type { Metric } from '../train/run/metrics.ts'

/** Colours of prefixes, from the first to the whole model, by theme. They differ from the page by 3 to 1 at least. */
const COLORS = {
  light: ['#0d0887', '#4903a0', '#7201a8', '#9c179e', '#bd3786', '#d0486c', '#d4593f', '#bd6a00'],
  dark: ['#8f8bff', '#b07cf5', '#d070e0', '#ee6fc0', '#ff7d9a', '#ff9a6e', '#ffb14f', '#ffa62e'],
}
/** Points of a curve; neighbours are joined to their mean where there are more. */
const MAX_POINTS = 400
const HEIGHT = 240

const dark = matchMedia('(prefers-color-scheme: dark)')

/** Curves of one measure over mini-batches: a line for each prefix while training, and points where the model was evaluated. */
export class Chart {
  readonly #place: HTMLElement
  readonly #measure: 'loss' | 'accuracy'
  #plot: uPlot | undefined
  #branches = 0
  #data: uPlot.AlignedData = [[]]

  constructor(place: HTMLElement, measure: 'loss' | 'accuracy') {
    this.#place = place
    this.#measure = measure
    new ResizeObserver(() => this.#plot?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place)
    dark.addEventListener('change', () => this.#draw())
  }

  /** @param metrics in the order of their mini-batches */
  show(metrics: readonly Metric[], branches: number): void {
    this.#data = curves(metrics, branches, this.#measure) as uPlot.AlignedData
    if (branches !== this.#branches || !this.#plot) {
      this.#branches = branches
      this.#draw()
    } else this.#plot.setData(this.#data)
  }

  #draw(): void {
    this.#plot?.destroy()
    if (this.#branches === 0) return
    const style = getComputedStyle(document.documentElement)
    const colors = COLORS[dark.matches ? 'dark' : 'light']
    const color = (k: number) => colors[Math.round((k * (colors.length - 1)) / Math.max(1, this.#branches - 1))]!
    const axis = {
      stroke: style.getPropertyValue('--muted'),
      grid: { stroke: style.getPropertyValue('--line'), width: 1 },
      ticks: { stroke: style.getPropertyValue('--line') },
    }
    const line = (k: number): uPlot.Series => ({
      label: `L${k + 1}`,
      stroke: color(k),
      width: 1.5,
      spanGaps: true,
      points: { show: false },
    })
    const points = (k: number): uPlot.Series => ({
      label: `evaluated ${k + 1}`,
      stroke: color(k),
      width: 0,
      points: { show: true, size: 8, fill: color(k) },
    })
    const prefixes = Array.from({ length: this.#branches }, (_, k) => k)
    const percent: Partial<uPlot.Axis> =
      this.#measure === 'accuracy' ? { values: (_, values) => values.map((value) => `${Math.round(100 * value)} %`) } : {}
    this.#plot = new uPlot(
      {
        width: this.#place.clientWidth,
        height: HEIGHT,
        scales: { x: { time: false } },
        axes: [
          { ...axis, label: 'mini-batches', labelSize: 20, size: 32 },
          { ...axis, ...percent },
        ],
        series: [{ label: 'mini-batches' }, ...prefixes.map(line), ...prefixes.map(points)],
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
      },
      this.#data,
      this.#place,
    )
  }
}

/** Returns the mini-batches and the curves over them: that of training for each prefix, then that of evaluation. */
function curves(metrics: readonly Metric[], branches: number, measure: 'loss' | 'accuracy'): (number | null)[][] {
  let steps = 0
  for (const [i, { step }] of metrics.entries()) if (step !== metrics[i - 1]?.step) steps++
  const size = Math.max(1, Math.ceil(steps / MAX_POINTS))
  const groups = Math.ceil(steps / size)
  const ends: number[] = Array(groups).fill(0)
  const [sums, counts] = [new Float64Array(2 * branches * groups), new Uint32Array(2 * branches * groups)]
  let at = -1
  for (const [i, metric] of metrics.entries()) {
    if (metric.step !== metrics[i - 1]?.step) at++
    const group = Math.floor(at / size)
    ends[group] = metric.step
    const value = metric[measure]
    if (!Number.isFinite(value)) continue
    const place = (metric.prefix - 1 + (metric.split === 'train' ? 0 : branches)) * groups + group
    sums[place]! += value
    counts[place]!++
  }
  const curve = (c: number) =>
    Array.from({ length: groups }, (_, g) => {
      const count = counts[c * groups + g]!
      return count === 0 ? null : sums[c * groups + g]! / count
    })
  return [ends, ...Array.from({ length: 2 * branches }, (_, c) => curve(c))]
}
