import type { TopLevelSpec } from 'vega-lite'
import { optional } from '../../../engine/platform/optional.ts'

/** The look of all figures. Colours are variables of the page's style, so that figures follow its theme. */
const CONFIG = {
  background: 'transparent',
  font: 'system-ui, sans-serif',
  padding: 4,
  view: { stroke: 'var(--line)' },
  axis: {
    labelColor: 'var(--ink)',
    titleColor: 'var(--ink)',
    gridColor: 'var(--line)',
    domainColor: 'var(--muted)',
    tickColor: 'var(--muted)',
    labelFontSize: 11,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    labelLimit: 260,
  },
  header: { labelColor: 'var(--ink)', titleColor: 'var(--ink)', labelFontSize: 12, labelLimit: 240 },
  legend: {
    labelColor: 'var(--ink)',
    titleColor: 'var(--ink)',
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    labelLimit: 260,
    orient: 'bottom',
    columns: 4,
    symbolSize: 120,
    titleLimit: 300,
  },
  title: { color: 'var(--ink)', fontSize: 12, anchor: 'start', fontWeight: 'normal' },
  // Vega-Lite draws points at 0.7 by default, which takes contrast from them.
  point: { opacity: 1 },
  text: { color: 'var(--ink)' },
  rule: { color: 'var(--muted)' },
} as const

/** Draws Vega-Lite specifications on the host. */
export type Draw = (spec: object) => Promise<string>

const EFFECT = 'figures cannot be drawn'

/** Loads Vega, which takes longer than most commands, and returns the function that draws an SVG element. */
export async function loadVega(): Promise<Draw> {
  const [vega, { compile }] = await Promise.all([
    optional(import('vega'), 'vega', EFFECT),
    optional(import('vega-lite'), 'vega-lite', EFFECT),
  ])
  const logger = vega.logger(vega.Error)
  return async (spec) => {
    const compiled = compile({ ...spec, config: CONFIG } as TopLevelSpec, { logger })
    const view = new vega.View(vega.parse(compiled.spec), { renderer: 'none', logger })
    try {
      return await view.toSVG()
    } finally {
      view.finalize()
    }
  }
}
