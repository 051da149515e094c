import type { Metric } from '../train/run/metrics.ts'
import { byId, element } from './dom.ts'
import type { RunInfo } from './protocol.ts'

/** A change of the loss that is shown as none. */
const NOTHING = 0.0005

/**
 * Shows by how much each branch lowers the loss of the prefix before it, the first one compared with guessing, and what it takes. A branch that
 * makes the loss larger is marked.
 * @param last a metric of each prefix, of one mini-batch
 */
export function showGains({ classes, branchTimes, settings }: RunInfo, last: readonly Metric[]): void {
  // A Vision Transformer has no branches to compare.
  const compared = settings.architecture === 'vit' ? [] : last
  byId('gains-figure').hidden = compared.length === 0
  const guessing = Math.log(classes)
  const gains = compared.map(({ loss }, k) => (k === 0 ? guessing : compared[k - 1]!.loss) - loss)
  const most = Math.max(...gains.map(Math.abs), Number.MIN_VALUE)
  const what = settings.architecture === 'ensemble' ? 'member' : 'branch'
  byId('gains').replaceChildren(
    ...gains.map((gain, k) => {
      const name = `${what} ${k + 1}`
      const effect = Math.abs(gain) < NOTHING ? 'no change' : `${gain > 0 ? '' : 'adds '}${Math.abs(gain).toFixed(3)}`
      const bar = element('meter', { min: 0, max: most, value: Math.abs(gain), className: gain < 0 ? 'worse' : '' })
      bar.setAttribute('aria-label', `${name}: ${gain > 0 ? 'takes ' : ''}${effect}${gain > 0 ? ' off' : ' to'} the loss`)
      const time = branchTimes?.milliseconds[k]
      const cells = [effect, time === undefined ? '' : `${time.toFixed(2)} ms`]
      return element('div', { className: 'gain' }, name, bar, ...cells.map((textContent) => element('span', { textContent })))
    }),
  )
  const clock =
    branchTimes?.clock === 'device' ? 'by timestamps of the device' : "by the host's clock, since timestamps are off"
  byId('branch-clock').textContent = branchTimes
    ? `Bars are compared with guessing for ${what} 1, and with those before it for the others; a red one makes the loss larger. ` +
      `Milliseconds are those of forward and backward of each branch alone on one mini-batch, ${clock}, measured when the run was opened.`
    : ''
}
