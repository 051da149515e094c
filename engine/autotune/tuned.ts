import type { Capabilities, KernelSpec } from '../../kernels/spec.ts'
import { getOrMake } from '../base/maps.ts'
import type { TunedJson, VariantChooser } from '../device/kernelSelection.ts'
import { hashOf } from './hash.ts'
import { classOf, problemKind, sizesOf } from './shapeClass.ts'

const keys = new WeakMap<KernelSpec, string>()

/** A kernel's name with a hash of its sources, since measurements of other sources do not count. */
export function kernelKey(spec: KernelSpec): string {
  const sources = () => spec.variants.map(({ name, source }) => `${name}\n${source}`).join('\n')
  return getOrMake(keys, spec, () => `${spec.name}@${hashOf(sources())}`)
}

/** Returns the key of a tuning record: the kernel, and the kind and the shape class of the problem. */
export function tuningKey<P>(spec: KernelSpec<P>, problem: P, device: Capabilities): string {
  return `${kernelKey(spec)} ${problemKind(spec, problem, device)}:${classOf(sizesOf(spec, problem))}`
}

/** The fastest variants of one kernel, by the problem's kind (`problemKind`), then by its shape class (`classOf`). */
type Classes = Map<number, Map<number, string>>

/** The fastest variants of kernels on a device, by shape class. */
export class TunedVariants implements VariantChooser {
  /** The device, see `deviceKey`. */
  readonly device: string
  readonly #variants = new Map<string, string>()
  readonly #kernels = new Map<string, Classes>()
  /** The variants of each spec that was looked up so far; `none` where there are none. */
  readonly #found = new WeakMap<KernelSpec, Classes | { none: true }>()

  constructor({ device, answers }: TunedJson) {
    this.device = device
    for (const [key, variant] of Object.entries(answers)) this.#add(key, variant)
  }

  #add(key: string, variant: string): void {
    const match = /^(\S+) (\d+):(\d+)$/.exec(key)
    if (!match || typeof variant !== 'string') return
    this.#variants.set(key, variant)
    const [, kernel, kind, shape] = match as unknown as [string, string, string, string]
    const classes: Classes = getOrMake(this.#kernels, kernel, () => new Map())
    getOrMake(classes, Number(kind), () => new Map()).set(Number(shape), variant)
  }

  /** The fastest variant that runs the problem; undefined where none was measured. */
  choose<P>(spec: KernelSpec<P>, problem: P, device: Capabilities): string | undefined {
    const find = () => (spec.variants.length > 1 && this.#kernels.get(kernelKey(spec))) || ({ none: true } as const)
    const classes = getOrMake(this.#found, spec, find)
    if ('none' in classes) return undefined
    return classes.get(problemKind(spec, problem, device))?.get(classOf(sizesOf(spec, problem)))
  }

  toJSON(): TunedJson {
    return { device: this.device, answers: Object.fromEntries(this.#variants) }
  }
}
