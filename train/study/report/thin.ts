import type { Point } from './point.ts'

/** Largest number of points of a curve of training, each of which is the mean of equally many mini-batches. */
const MAX_TRAINING = 100

/** Largest number of points of a curve of evaluations, which shows some of them. */
const MAX_EVALUATIONS = 200

/** Returns so many points that a page can hold them: means of training, and some evaluations, the last one among them. */
export function thinned(points: readonly Point[]): Point[] {
  const curves = new Map<string, Point[]>()
  for (const point of points) {
    const key = `${point.split} ${point.prefix}`
    const curve = curves.get(key)
    if (curve) curve.push(point)
    else curves.set(key, [point])
  }
  return [...curves.values()].flatMap((curve) =>
    curve[0]!.split === 'train' ? means(curve, MAX_TRAINING) : some(curve, MAX_EVALUATIONS),
  )
}

/** Replaces neighbours by their mean, at the place of the last of them. */
function means(curve: readonly Point[], most: number): Point[] {
  const size = Math.ceil(curve.length / most)
  if (size <= 1) return [...curve]
  return Array.from({ length: Math.ceil(curve.length / size) }, (_, i) => {
    const part = curve.slice(i * size, (i + 1) * size)
    const mean = (value: (point: Point) => number) => part.reduce((sum, point) => sum + value(point), 0) / part.length
    return { ...part.at(-1)!, loss: mean(({ loss }) => loss), accuracy: mean(({ accuracy }) => accuracy) }
  })
}

/** Takes every n-th point, counted from the last one. */
function some(curve: readonly Point[], most: number): Point[] {
  const size = Math.ceil(curve.length / most)
  return curve.filter((_, i) => (curve.length - 1 - i) % size === 0)
}
