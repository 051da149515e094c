import type { Arrays } from '../spec.ts'
import type { CrossEntropyBackwardProblem, CrossEntropyGradientProblem, CrossEntropyProblem } from './crossEntropy.ts'

/** The losses, and each row's largest logit and sum of exp(logit - largest), in float64. */
export function crossEntropyReference(problem: CrossEntropyProblem, arrays: Arrays): Arrays {
  const { rows, classes, labelRows } = problem
  const smoothing = Math.fround(problem.smoothing ?? 0)
  const { labels, losses, statistics } = arrays
  for (let row = 0; row < rows; row++) {
    const logits = arrays.logits!.subarray(row * classes, (row + 1) * classes)
    const largest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity)
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0)
    // A label outside the classes has no logit, so its loss is NaN.
    const label = labels![row % labelRows]!
    const ofLabel = largest - (logits[label] ?? Number.NaN) + Math.log(sum)
    const ofAll = logits.reduce((total, logit) => total + largest - logit, 0) / classes + Math.log(sum)
    losses![row] = smoothing > 0 ? (1 - smoothing) * ofLabel + smoothing * ofAll : ofLabel
    if (label === problem.ignored) losses![row] = 0
    statistics![2 * row] = largest
    statistics![2 * row + 1] = sum
  }
  return { losses: losses!, statistics: statistics! }
}

/** The gradient of the logits in float64. */
export function crossEntropyBackwardReference(problem: CrossEntropyBackwardProblem, arrays: Arrays): Arrays {
  const { rows, classes, labelRows, gradientRows, scale, ignored } = problem
  const smoothing = Math.fround(problem.smoothing ?? 0)
  const { logits, labels, statistics, gradient, dlogits } = arrays
  for (let row = 0; row < rows; row++) {
    const label = labels![row % labelRows]!
    const known = label >= 0 && label < classes ? gradient![Math.floor(row / gradientRows)]! * scale : Number.NaN
    const g = label === ignored ? 0 : known
    for (let j = 0; j < classes; j++) {
      const probability = Math.exp(logits![row * classes + j]! - statistics![2 * row]!) / statistics![2 * row + 1]!
      dlogits![row * classes + j] = (probability - (j === label ? 1 - smoothing : 0) - smoothing / classes) * g
    }
  }
  return { dlogits: dlogits! }
}

/** The losses and the gradient of the logits, where that of each loss is `scale`, in float64. */
export function crossEntropyGradientReference(problem: CrossEntropyGradientProblem, arrays: Arrays): Arrays {
  const { rows } = problem
  const { losses, statistics } = crossEntropyReference(problem, { ...arrays, statistics: new Float64Array(2 * rows) })
  const backward = { ...problem, gradientRows: rows }
  const { dlogits } = crossEntropyBackwardReference(backward, {
    ...arrays,
    statistics: statistics!,
    gradient: Float64Array.of(1),
  })
  return { losses: losses!, dlogits: dlogits! }
}

export function countedRowsReference(
  { rows, ignored }: { rows: number; ignored: number },
  { labels, counted }: Arrays,
): Arrays {
  for (let row = 0; row < rows; row++) counted![row] = labels![row] === ignored ? 0 : 1
  return { counted: counted! }
}
