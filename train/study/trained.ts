import { UserError } from '../../engine/index.ts'

/**
 * Refuses a model that is no better than chance, since nothing can be said about cutting or expanding it.
 * @param accuracy its accuracy on `images` images
 * @throws UserError unless it is two standard deviations of a guess above chance
 */
export function checkTrained(accuracy: number, classes: number, images: number): void {
  const chance = 1 / classes
  const above = chance + 2 * Math.sqrt((chance * (1 - chance)) / images)
  if (accuracy > above) return
  throw new UserError(
    `the model classifies ${(100 * accuracy).toFixed(2)} % of ${images} images right, no better than chance among ${classes} classes; train it first`,
  )
}
