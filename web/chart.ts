import uPlot from 'uplot'
import type { Metric } from '../train/run/metrics.ts'

/** Colours of prefixes, from the first to the whole model, by theme. They differ from the page by 3 to 1 at least. */
const COLORS = {
  light: ['#0d0887', '#4903a0', '#7201a8', '#9c179e', '#bd3786', '#d0486c', '#d4593f', '#bd6a00'],
  dark: ['#8f8bff', '#b07cf5', '#d070e0', '#ee6fc0', '#ff7d9a', '#ff9a6e', '#ffbf4f', '#f5e860'],
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

  show(metrics: readonly Metric[], branches: number): void {
    const steps = [...new Set(metrics.map(({ step }) => step))].sort((a, b) => a - b)
    const size = Math.max(1, Math.ceil(steps.length / MAX_POINTS))
    const ends = steps.filter((_, i) => i % size === size - 1 || i === steps.length - 1)
    const at = new Map<number, number>()
    for (let i = 0, group = 0; i < steps.length; i++) {
      at.set(steps[i]!, group)
      if (steps[i] === ends[group]) group++
    }
    const curve = (prefix: number, training: boolean) => {
      const [sums, counts] = [new Float64Array(ends.length), new Uint32Array(ends.length)]
      for (const metric of metrics) {
        if (metric.prefix !== prefix || (metric.split === 'train') !== training) continue
        const value = metric[this.#measure]
        if (!Number.isFinite(value)) continue
        const group = at.get(metric.step)!
        sums[group]! += value
        counts[group]!++
      }
      return Array.from(sums, (sum, i) => (counts[i] === 0 ? null : sum / counts[i]!))
    }
    const prefixes = Array.from({ length: branches }, (_, k) => k + 1)
    this.#data = [ends, ...prefixes.map((k) => curve(k, true)), ...prefixes.map((k) => curve(k, false))] as uPlot.AlignedData
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
