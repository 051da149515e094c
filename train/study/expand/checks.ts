import { checkList, checkNumber, checkObject, checkText, checkWhole, refusal } from '../../../engine/base/checks.ts'
import { kindOf } from '../../../engine/base/kind.ts'
import { ArgumentError, UserError } from '../../../engine/index.ts'
import { withArticle } from '../../../model/config.ts'
import { type Architecture, checkConfig, DEFAULT_CONFIGS } from '../../../model/index.ts'

/** @throws ArgumentError unless `value` has the sizes of images, and images and labels of them */
export function checkSource(op: string, value: unknown, name = 'source'): void {
  checkObject(op, value, 'a data set of images and labels', name)
  checkText(op, value.name, `${name}.name`)
  const pixels = checkSizes(op, value, name)
  checkWhole(op, value.classes, `${name}.classes`)
  if (value.classNames !== undefined) checkList(op, value.classNames, 'a list of texts', `${name}.classNames`)
  checkSplit(op, value.train, `${name}.train`, pixels)
  checkSplit(op, value.test, `${name}.test`, pixels)
}

/** Returns the number of values of an image. @throws ArgumentError unless `value` has the sizes of images */
export function checkSizes(op: string, value: Record<string, unknown>, name: string): number {
  for (const size of ['channels', 'height', 'width']) checkWhole(op, value[size], `${name}.${size}`)
  const { channels, height, width } = value as Record<string, number>
  return channels! * height! * width!
}

/** @throws ArgumentError unless `value` is a task whose images have `pixels` values */
export function checkTask(op: string, value: unknown, name: string, pixels: number): void {
  checkObject(op, value, 'a task { name, train, test, classes }', name)
  if (typeof value.name !== 'string') throw refusal(op, value.name, 'a text', `${name}.name`)
  checkWhole(op, value.classes, `${name}.classes`)
  checkSplit(op, value.train, `${name}.train`, pixels)
  checkSplit(op, value.test, `${name}.test`, pixels)
}

/** @throws ArgumentError unless `value` has `count` images of `pixels` values, with a label each */
function checkSplit(op: string, value: unknown, name: string, pixels: number): void {
  checkObject(op, value, '{ images, labels, count }', name)
  const { count } = value
  checkWhole(op, count, `${name}.count`, 0)
  const check = (key: 'images' | 'labels', length: number) => {
    const found = value[key]
    // Labels of more than 256 classes take two bytes.
    const isKind = found instanceof Uint8Array || (key === 'labels' && found instanceof Uint16Array)
    if (!(isKind && found.length === length)) throw refusal(op, found, `a Uint8Array of ${length}`, `${name}.${key}`)
  }
  check('images', (count as number) * pixels)
  check('labels', count as number)
}

/** @throws ArgumentError unless `value` is a list of numbers from 0 to below `classes`, each once */
export function checkClasses(op: string, value: unknown, classes: number, name: string): void {
  checkList(op, value, 'a list of classes', name, 1)
  for (const label of value) checkWhole(op, label, name, 0, classes - 1)
  const twice = value.find((label, i) => value.indexOf(label) < i)
  if (twice !== undefined) throw new ArgumentError(`${op}: got class ${kindOf(twice)} twice in ${name}, takes each once`)
}

/**
 * @throws ArgumentError unless `value` is a model in host memory with a complete config; UserError for a wrong config, and for a model
 *   without branches
 */
export function checkBase(op: string, value: unknown): void {
  checkObject(op, value, 'a model { config, parameters }', 'the base')
  const { config, parameters } = value
  checkObject(op, config, 'the config of a model', 'base.config')
  if (!(parameters instanceof Map)) throw refusal(op, parameters, 'a map of values by name', 'base.parameters')
  const { architecture } = config
  if (architecture !== 'paraformer' && Object.keys(DEFAULT_CONFIGS).includes(architecture as Architecture))
    throw new UserError(`${withArticle(architecture as Architecture)} has no branches to append; expand a paraformer`)
  const missing = Object.keys(checkConfig(config, 'paraformer')).find((key) => config[key] === undefined)
  if (missing !== undefined) throw refusal(op, config[missing], 'a complete config', `base.config.${missing}`)
}

/** @throws ArgumentError for what is no number; UserError unless it is a whole number of at least 1 */
export function checkAdd(op: string, add: unknown): void {
  checkNumber(op, add, 'add')
  if (!(Number.isSafeInteger(add) && (add as number) >= 1))
    throw new UserError(`${add} is not a number of branches to append; give a whole number of at least 1`)
}
