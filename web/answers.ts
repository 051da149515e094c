import { byId, element } from './dom.ts'
import type { Answer, ModelInfo } from './protocol.ts'
import { percent } from './words.ts'

const bestOf = (row: readonly number[]) => row.indexOf(Math.max(...row))

/** Shows what a model answers: the probability of each class, and for every prefix its answer. @param order the branches that answer */
export function showAnswer(model: ModelInfo, { probabilities }: Answer, order: readonly number[]): void {
  const { classNames } = model
  const whole = probabilities.at(-1)!
  const best = bestOf(whole)
  byId('answers').replaceChildren(...whole.flatMap((share, c) => bar(classNames[c]!, share, c === best)))
  const threshold = Number(byId<HTMLInputElement>('threshold').value)
  const sure = probabilities.findIndex((row) => Math.max(...row) >= threshold)
  byId('prefixes').replaceChildren(
    ...probabilities.flatMap((row, k) => {
      const added = order.slice(0, k + 1).map((branch) => branch + 1)
      return bar(`${added.join(' + ')}: ${classNames[bestOf(row)]}`, Math.max(...row), k === sure)
    }),
  )
  byId('sure-by').textContent = percent(threshold, 0)
  byId('exit').textContent = exitOf(sure, probabilities, classNames)
}

/** The answer of the whole model, in a sentence. */
export function answerSentence({ classNames }: ModelInfo, { probabilities }: Answer): string {
  const whole = probabilities.at(-1)!
  return `The answer is ${classNames[bestOf(whole)]}, sure by ${percent(Math.max(...whole))}.`
}

/** Says where an image leaves early, and with which answer. */
function exitOf(sure: number, probabilities: Answer['probabilities'], classNames: readonly string[]): string {
  const all = probabilities.length
  const name = (k: number) => classNames[bestOf(probabilities[k]!)]
  if (sure < 0)
    return `No prefix is so sure. ${all === 1 ? 'The branch answers' : `All ${all} branches answer`} ${name(all - 1)}.`
  if (sure === all - 1)
    return `${all === 1 ? 'It' : `Only all ${all} branches together`} answer${all === 1 ? 's' : ''} ${name(sure)}.`
  return `It answers ${name(sure)} after ${sure + 1} of ${all} branches, and saves the rest.`
}

function bar(label: string, share: number, best: boolean): HTMLElement[] {
  const meter = element('meter', { min: 0, max: 1, value: share })
  meter.setAttribute('aria-label', `${label}: ${percent(share)}`)
  const className = best ? 'best' : ''
  return [
    element('span', { className, textContent: label }),
    meter,
    element('span', { className, textContent: percent(share) }),
  ]
}
