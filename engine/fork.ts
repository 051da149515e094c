import { checkFunction, refusal } from './base/checks.ts'
import { UserError } from './base/errors.ts'
import { kindOf } from './base/kind.ts'
import { checkOptions } from './base/options.ts'
import { Device } from './device/device.ts'
import { recordForked } from './device/recordForked.ts'
import { FORK_MODES, type Fork, type ForkMode, type Lane } from './graph/lane.ts'

/** Makes a lane for each branch. @param together how many neighbouring branches share a fork, so that they can be coalesced */
function makeLanes(mode: ForkMode, names: readonly string[], together: number): Lane[] {
  let forward: Fork
  let backward: Fork
  return names.map((name, index) => {
    if (index % together === 0) {
      forward = { mode }
      backward = { mode }
    }
    // The backward lane is its own backward lane, for ops that are differentiated twice.
    const streams = [name]
    const back: Lane = { fork: backward, index, name, streams, backward: undefined! }
    return { fork: forward, index, name, streams, backward: Object.assign(back, { backward: back }) }
  })
}

/**
 * Runs independent branches, each in a lane of its own, and returns their results in the order of `Object.values`. The work of a branch and
 * of its backward pass is recorded in its lane. Code after the fork may use the results.
 * @param branches functions by name; no branch uses a tensor that another one makes
 * @param options.together how many branches mode `coalesced` fuses at a time, one group after another; fewer need less memory and more
 *   dispatches. By default all
 * @throws UserError for an unknown mode, or when `together` is no whole number of at least 1; ArgumentError when `branches` is no object of
 *   functions, and for unknown options
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
  // Inside a branch, work that does not fork stays in the branch's lane. Outside, even serial branches get lanes, which traces show.
  if (alone && device.lane) return Object.values(branches).map((branch) => branch())
  const effective = alone ? 'serial' : mode
  const lanes = makeLanes(effective, names, together)
  return recordForked(device, effective, () => lanes.map((lane) => onLane(device, lane, branches[lane.name]!)))
}

function onLane<T>(device: Device, lane: Lane, fn: () => T): T {
  const outer = device.lane
  device.lane = lane
  try {
    return fn()
  } finally {
    device.lane = outer
  }
}
