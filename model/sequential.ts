import { refusal } from '../engine/base/checks.ts'
import { scope, type Tensor } from '../engine/index.ts'
import { Module } from './module.ts'

/** A part of a `Sequential`: a module with a `forward` of one tensor, or a function such as `relu`. */
export type Layer = (Module & { forward(x: Tensor): Tensor }) | ((x: Tensor) => Tensor)

/**
 * Layers one after the other. Parameters are called by the places of their layers, as in PyTorch: `0.weight`, `2.bias`.
 * @example
 * new Sequential(new Linear(784, 64), relu, new Dropout(0.1), new Linear(64, 10))
 */
export class Sequential extends Module {
  readonly length: number
  readonly [place: number]: Layer

  /** @throws ArgumentError for a layer that is neither a function nor a module with a `forward` */
  constructor(...layers: readonly Layer[]) {
    super()
    this.length = layers.length
    for (const [i, layer] of layers.entries()) {
      const fits = typeof layer === 'function' || (layer instanceof Module && typeof layer.forward === 'function')
      if (!fits) throw refusal('Sequential', layer, 'modules with a forward(x), and functions', `layer ${i}`)
      Object.defineProperty(this, i, { value: layer, enumerable: true, configurable: true, writable: true })
    }
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      let value = x
      for (const layer of this) value = typeof layer === 'function' ? layer(value) : layer.forward(value)
      return value
    })
  }

  *[Symbol.iterator](): IterableIterator<Layer> {
    for (let i = 0; i < this.length; i++) yield this[i]!
  }
}
