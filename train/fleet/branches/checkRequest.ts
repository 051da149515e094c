import { reason, UserError } from '../../../engine/index.ts'
import { checkConfig, countParameters, type ParaFormerConfig } from '../../../model/index.ts'
import type { BranchWorkerSpec } from '../../devices/localBranchWorker.ts'
import type { BranchWorkerRequest, Method } from '../../devices/protocol.ts'
import { MAX_BATCH } from '../../settings.ts'

/** Methods of a worker, each with a check of its arguments. */
const METHODS: Readonly<Record<Method, (args: readonly unknown[]) => boolean>> = {
  load: ([id, images, count]) => isWhole(id) && isFloats(images) && isWhole(count) && count <= MAX_BATCH,
  drop: ([id]) => isWhole(id),
  forward: ([request]) => isForward(request),
  backward: ([cotangent]) => isFloats(cotangent),
  stemGradient: (args) => args.length === 0,
  update: ([request]) => isUpdate(request),
  gradients: (args) => args.length === 0,
  state: (args) => args.length === 0,
  startTrace: (args) => args.length === 0,
  endTrace: (args) => args.length === 0,
}

/**
 * Checks a message from another machine.
 * @param first whether it must open the worker
 * @throws UserError for one that is no request, or whose values are of a wrong kind or shape
 */
export function checkRequest(message: unknown, first: boolean): BranchWorkerRequest {
  const fields = (typeof message === 'object' && message !== null ? message : {}) as Record<string, unknown>
  const { id } = fields
  if (!(isWhole(id) || id === -1)) throw new UserError('a message about branches has no number')
  if (fields.alive === true && !first) return { id, alive: true }
  if (first !== 'open' in fields)
    throw new UserError(first ? 'a session begins with something else than open' : 'a session is opened twice')
  if (first) return { id, open: checkSpec(fields.open) }
  const { method, args } = fields
  if (typeof method !== 'string' || !Object.hasOwn(METHODS, method) || !Array.isArray(args))
    throw new UserError(`a message about branches asks for ${JSON.stringify(String(method).slice(0, 40))}`)
  if (!METHODS[method as Method](args)) throw new UserError(`the arguments of ${method} are of a wrong kind or shape`)
  return { id, method: method as Method, args }
}

function checkSpec(value: unknown): BranchWorkerSpec {
  const spec = (typeof value === 'object' && value !== null ? value : {}) as BranchWorkerSpec
  let config: ParaFormerConfig
  try {
    config = checkConfig(spec.config) as ParaFormerConfig
  } catch (error) {
    throw new UserError(`the config of branches is refused: ${reason(error)}`)
  }
  if (config.architecture !== 'paraformer') throw new UserError(`a ${config.architecture} has no branches`)
  const { own, stem, branches } = spec
  const known = (i: unknown) => isWhole(i) && i < config.branches
  if (!Array.isArray(own) || own.length === 0 || !own.every(known))
    throw new UserError('the branches of a session are none of its model')
  const numbers = [stem, branches?.parameters, branches?.m, branches?.v].reduce((sum, entries) => sum + numbersOf(entries), 0)
  const most = 3 * countParameters(config).total
  if (!(numbers <= most)) throw new UserError(`the state of branches has ${numbers} numbers; its model has at most ${most}`)
  return { ...spec, config }
}

/** Counts the numbers of entries; NaN where something is none. */
function numbersOf(entries: unknown): number {
  if (!(entries instanceof Map)) return Number.NaN
  let total = 0
  for (const [name, entry] of entries) {
    const { shape, data } = (entry ?? {}) as { shape?: unknown; data?: unknown }
    if (typeof name !== 'string' || !Array.isArray(shape) || !shape.every(isWhole) || !isFloats(data)) return Number.NaN
    if (shape.reduce((size, n) => size * n, 1) !== data.length) return Number.NaN
    total += data.length
  }
  return total
}

function isForward(value: unknown): boolean {
  const { images, branches, eachBranch, training, differentiate, lossScale, random } = (value ?? {}) as Record<string, any>
  const flags = [eachBranch, training, differentiate].every((flag) => typeof flag === 'boolean')
  return (
    isWhole(images) &&
    isWhole(branches) &&
    flags &&
    typeof lossScale === 'number' &&
    isWhole(random?.seed) &&
    isWhole(random?.counter)
  )
}

function isUpdate(value: unknown): boolean {
  const { lr, maxNorm, square, stem } = (value ?? {}) as Record<string, unknown>
  return [lr, maxNorm, square].every((number) => typeof number === 'number') && isFloats(stem)
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isFloats(value: unknown): value is Float32Array {
  return value instanceof Float32Array
}
