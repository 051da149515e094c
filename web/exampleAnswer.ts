import answer from './model/exampleAnswer.json'
import type { Answer, ModelInfo } from './protocol.ts'

// A visitor sees the picture at once, before what computes is loaded: the answer of the page's model to the drawing that stands there at
// first. `UPDATE_EXAMPLE=1 node test/web/run.mjs 'at first'` writes the numbers anew.

/** The model that comes with the page, as the picture shows it. */
export const EXAMPLE_MODEL: ModelInfo = {
  id: 'example',
  from: 'the model of this page',
  architecture: 'paraformer',
  branches: 4,
  layers: undefined,
  channels: 1,
  size: 28,
  grid: 4,
  classNames: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
}

/** Its answer to the drawing that stands there at first. */
export const EXAMPLE_ANSWER: Answer = answer
