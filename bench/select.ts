import { nearest } from '../engine/base/options.ts'
import { UserError } from '../engine/index.ts'
import type { Capabilities } from '../kernels/spec.ts'
import { kernelTargets } from './kernelTargets.ts'
import { defaultBatch, layerTargets, modelTargets } from './modelTargets.ts'
import { opTargets, shapedTarget } from './opTargets.ts'
import { GROUPS, idOf, type Target } from './target.ts'

/** The user's selection of targets. */
export interface Selection {
  /** Groups, or names of targets; an empty list selects everything. */
  names: readonly string[]
  variant?: string | undefined
  filter?: string | undefined
  shape?: string | undefined
  batch?: number | undefined
  /**
   * Whether only the smallest target of each name is taken, and of a kernel the variant that the device chooses; without names and
   * filter one of each family. Default false.
   */
  quick?: boolean | undefined
}

/**
 * Returns the targets that a selection takes on a device.
 * @throws UserError for a name or variant that no target has, a filter that leaves nothing, and a shape that an op does not
 *   take
 */
export function selectTargets(capabilities: Capabilities, selection: Selection): Target[] {
  const { names, variant, filter, shape } = selection
  if (shape !== undefined) {
    if (names.length === 0)
      throw new UserError('--shape needs the name of an op, such as `paraformer bench matmul --shape 512x512x512`')
    return names.map((name) => shapedTarget(name, shape))
  }
  const { software } = capabilities
  const batch = selection.batch ?? defaultBatch(software)
  const { quick } = selection
  const all = [
    ...kernelTargets(capabilities, quick),
    ...opTargets(software, quick),
    ...layerTargets(batch),
    ...modelTargets(batch),
  ]
  for (const name of names) {
    if (all.some((target) => isNamed(target, name))) continue
    const known = [...GROUPS, ...[...new Set(all.map((target) => target.name))].sort()]
    throw new UserError(`nothing to time is called "${name}"${didYouMean(name, known)}; there are ${known.join(', ')}`)
  }
  let chosen = names.length > 0 ? all.filter((target) => names.some((name) => isNamed(target, name))) : all
  if (variant !== undefined) {
    // Ops, layers and models run kernels: if no kernel is selected, a variant of any kernel will do.
    const among = chosen.some(({ group }) => group === 'kernels') ? chosen : all
    const kernels = among.filter(({ group }) => group === 'kernels')
    const variants = [...new Set(kernels.map((target) => target.variant))].sort()
    if (!variants.includes(variant)) {
      throw new UserError(`no kernel chosen has a variant "${variant}" on this device; there are ${variants.join(', ')}`)
    }
    chosen = chosen.filter((target) => target.group !== 'kernels' || target.variant === variant)
  }
  if (filter !== undefined) {
    const pattern = regularExpression(filter)
    chosen = chosen.filter((target) => pattern.test(idOf(target)))
    if (chosen.length === 0) throw new UserError(`--filter ${filter} leaves nothing to time; see paraformer bench --list`)
  }
  if (!quick) return chosen
  const each = smallest(chosen, ({ name }) => name)
  return names.length > 0 || filter !== undefined ? each : smallest(each, ({ name, family = name }) => family)
}

/** Returns the target of each name that does least, among those of usual variants where there are some. */
function smallest(targets: readonly Target[], nameOf: (target: Target) => string): Target[] {
  const work = ({ flops, bytes }: Target) => flops + bytes
  const least = new Map<string, Target>()
  for (const target of targets) {
    const name = `${target.group}/${nameOf(target)}`
    const known = least.get(name)
    const [usual, before] = [target.usual !== false, known?.usual !== false]
    if (!known || (usual === before ? work(target) < work(known) : usual)) least.set(name, target)
  }
  return [...least.values()]
}

/** Asks a question with the nearest known name, and with the names that contain the asked one. */
function didYouMean(asked: string, known: readonly string[]): string {
  const name = asked.split('/').at(-1)!.toLowerCase()
  const longer = name === '' ? [] : known.filter((candidate) => candidate.toLowerCase().includes(name))
  const near = nearest(name, known)
  const all = new Set([...(near === undefined ? [] : [near]), ...longer])
  return all.size > 0 ? `; did you mean ${[...all].join(' or ')}?` : ''
}

function isNamed({ group, name }: Target, asked: string): boolean {
  return asked === group || asked === name || asked === `${group}/${name}`
}

/** Compiles the pattern of a `--filter`. @throws UserError for an invalid regular expression */
export function regularExpression(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch {
    throw new UserError(`--filter ${text} is no regular expression; a plain word such as 1024 will do`)
  }
}
