import { checkFunction, refusal } from './base/checks.ts'
import { UserError } from './base/errors.ts'
import { kindOf } from './base/kind.ts'
import { checkOptions } from './base/options.ts'
import { Device } from './device/device.ts'
import { recordForked } from './device/recordForked.ts'
import { FORK_MODES, type Fork, type ForkMode, type Lane } from './graph/lane.ts'

/** @param together how many make one fork */
function makeLanes(mode: ForkMode, names: readonly string[], together: number): Lane[] {
  let forward: Fork
  let backward: Fork
  return names.map((name, index) => {
    if (index % together === 0) {
      forward = { mode }
      backward = { mode }
    }
    // What is differentiated twice stays in the backward lane.
    const streams = [name]
    const back: Lane = { fork: backward, index, name, streams, backward: undefined! }
    return { fork: forward, index, name, streams, backward: Object.assign(back, { backward: back }) }
  })
}

/**
 * Runs independent branches, each in a lane of its own, and returns their results in the order of `Object.values`. What a branch makes and its
 * backward pass are recorded in its lane; a lane's results may be used by anything after the fork.
 * @param branches by name, none of which uses what another one made
 * @param options.together how many `coalesced` joins at a time, the next after them: less memory in use, more dispatches; default all
 * @throws UserError when that is no whole number of at least 1, or for a mode that does not exist; ArgumentError for branches that are no
 *   functions by name, and unknown options
 */
export function fork<T>(
  device: Device,
  mode: ForkMode,
  branches: Readonly<Record<string, () => T>>,
  options?: { together?: number | undefined },
): T[] {
  checkOptions('fork', options, { together: true })
  const { together = Number.POSITIVE_INFINITY } = options ?? {}
  if (!(device instanceof Device)) throw refusal('fork', device, 'a device', 'device')
  if (typeof branches !== 'object' || branches === null) throw refusal('fork', branches, 'functions by name', 'branches')
  if (!(together >= 1 && (Number.isInteger(together) || together === Number.POSITIVE_INFINITY)))
    throw new UserError(
      `fork: ${kindOf(together)} branches cannot be joined at a time; give a whole number of at least 1, or leave it out`,
    )
  if (!FORK_MODES.includes(mode)) throw new UserError(`mode ${kindOf(mode)} is unknown; choose ${FORK_MODES.join(', ')}`)
  const names = Object.keys(branches)
  for (const name of names) checkFunction('fork', branches[name], name)
  const alone = mode === 'serial' || names.length < 2
  // What does not fork belongs to the branch around it. Of the outermost ones traces tell the branches apart.
  if (alone && device.lane) return Object.values(branches).map((branch) => branch())
  const how = alone ? 'serial' : mode
  const lanes = makeLanes(how, names, together)
  return recordForked(device, how, () => lanes.map((lane) => onLane(device, lane, branches[lane.name]!)))
}

/** Runs `fn` with what it records in `lane`. */
function onLane<T>(device: Device, lane: Lane, fn: () => T): T {
  const outer = device.lane
  device.lane = lane
  try {
    return fn()
  } finally {
    device.lane = outer
  }
}
