import type { Arrays } from '../spec.ts'
import type { CrossEntropyBackwardProblem, CrossEntropyProblem } from './crossEntropy.ts'

/** The losses, and each row's largest logit and sum of exp(logit - largest), in float64. */
export function crossEntropyReference({ rows, classes }: CrossEntropyProblem, arrays: Arrays): Arrays {
  const { labels, losses, statistics } = arrays
  for (let row = 0; row < rows; row++) {
    const logits = arrays.logits!.subarray(row * classes, (row + 1) * classes)
    const largest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity)
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0)
    // A label outside the classes has no logit, so its loss is NaN.
    losses![row] = largest - (logits[labels![row]!] ?? Number.NaN) + Math.log(sum)
    statistics![2 * row] = largest
    statistics![2 * row + 1] = sum
  }
  return { losses: losses!, statistics: statistics! }
}

/** The gradient of the logits in float64. */
export function crossEntropyBackwardReference(problem: CrossEntropyBackwardProblem, arrays: Arrays): Arrays {
  const { rows, classes, gradientStride, scale } = problem
  const { logits, labels, statistics, gradient, dlogits } = arrays
  for (let row = 0; row < rows; row++) {
    const label = labels![row]!
    const g = label >= 0 && label < classes ? gradient![row * gradientStride]! * scale : Number.NaN
    for (let j = 0; j < classes; j++) {
      const probability = Math.exp(logits![row * classes + j]! - statistics![2 * row]!) / statistics![2 * row + 1]!
      dlogits![row * classes + j] = (probability - (j === label ? 1 : 0)) * g
    }
  }
  return { dlogits: dlogits! }
}
