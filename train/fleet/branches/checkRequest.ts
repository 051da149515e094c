import { reason, UserError } from '../../../engine/index.ts'
import { checkConfig, countParameters, type ModelConfig } from '../../../model/index.ts'
import type { BranchWorkerSpec } from '../../devices/localBranchWorker.ts'
import type { ReplicaSpec } from '../../devices/localReplica.ts'
import type { BranchMethod, ReplicaMethod, WorkerRequest } from '../../devices/protocol.ts'
import { ALIVE } from '../../devices/remoteWorker.ts'
import { SCHEMES_OF } from '../../schemes/index.ts'
import { MAX_BATCH } from '../../settings.ts'

type Check = (args: readonly unknown[]) => boolean

/** Methods of a worker for branches, each with a check of its arguments. */
const BRANCH_METHODS: Readonly<Record<BranchMethod, Check>> = {
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

/** Methods of a replica. */
const REPLICA_METHODS: Readonly<Record<ReplicaMethod, Check>> = {
  load: ([id, images, labels]) =>
    isWhole(id) && isFloats(images) && labels instanceof Int32Array && labels.length > 0 && labels.length <= MAX_BATCH,
  drop: ([id]) => isWhole(id),
  gradient: ([request]) => isGradient(request),
  update: ([parameters]) => isFloats(parameters),
  startTrace: (args) => args.length === 0,
  endTrace: (args) => args.length === 0,
}

/** What a session has: branches, or a replica. */
export type SessionKind = 'open' | 'replica'

/**
 * Checks a message from another machine.
 * @param kind is what the session has; undefined until it is opened, which the message must do then
 * @throws UserError for one that is no request, or whose values are of a wrong kind or shape
 */
export function checkRequest(message: unknown, kind: SessionKind | undefined): WorkerRequest {
  const fields = (typeof message === 'object' && message !== null ? message : {}) as Record<string, unknown>
  const { id } = fields
  if (!(isWhole(id) || id === ALIVE)) throw new UserError('a message about branches has no number')
  if (fields.alive === true && kind) return { id, alive: true }
  const opens = 'open' in fields || 'replica' in fields
  if (opens === (kind !== undefined))
    throw new UserError(kind ? 'a session is opened twice' : 'a session begins with something else than open')
  if (!kind) return 'open' in fields ? { id, open: checkSpec(fields.open) } : { id, replica: checkReplica(fields.replica) }
  const { method, args } = fields
  const methods: Readonly<Record<string, Check>> = kind === 'open' ? BRANCH_METHODS : REPLICA_METHODS
  if (typeof method !== 'string' || !Object.hasOwn(methods, method) || !Array.isArray(args))
    throw new UserError(`a message about branches asks for ${JSON.stringify(String(method).slice(0, 40))}`)
  if (!methods[method]!(args)) throw new UserError(`the arguments of ${method} are of a wrong kind or shape`)
  return { id, method: method as BranchMethod | ReplicaMethod, args }
}

function checkedConfig(config: unknown): ModelConfig {
  try {
    return checkConfig(config as ModelConfig)
  } catch (error) {
    throw new UserError(`the config of a model is refused: ${reason(error)}`)
  }
}

function checkSpec(value: unknown): BranchWorkerSpec {
  const spec = (typeof value === 'object' && value !== null ? value : {}) as BranchWorkerSpec
  const config = checkedConfig(spec.config)
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

function checkReplica(value: unknown): ReplicaSpec {
  const spec = (typeof value === 'object' && value !== null ? value : {}) as ReplicaSpec
  const config = checkedConfig(spec.config)
  if (!SCHEMES_OF[config.architecture].includes(spec.scheme))
    throw new UserError(
      `a ${config.architecture} is not trained by a scheme ${JSON.stringify(String(spec.scheme).slice(0, 40))}`,
    )
  const [numbers, total] = [numbersOf(spec.parameters), countParameters(config).total]
  if (numbers !== total) throw new UserError(`a replica has ${numbers} parameters; its model has ${total}`)
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

function isGradient(value: unknown): boolean {
  const { parts, seed, lossScale } = (value ?? {}) as Record<string, unknown>
  const isPart = (part: any) => isWhole(part?.id) && isWhole(part.counter) && typeof part.share === 'number'
  return Array.isArray(parts) && parts.length > 0 && parts.every(isPart) && isWhole(seed) && typeof lossScale === 'number'
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
