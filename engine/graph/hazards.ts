import type { DeviceBuffer } from '../memory/deviceBuffer.ts'
import { type Access, accessesOf, type GraphCommand } from './graph.ts'

interface Use extends Omit<Access, 'binding'> {
  command: number
}

/** Lists for each command the earlier ones it must follow: those that use the same bytes, where one of the two writes them. */
export function dependencies(commands: readonly GraphCommand[]): number[][] {
  const uses = new Map<DeviceBuffer, Use[]>()
  return commands.map((command, index) => {
    const before = new Set<number>()
    for (const { binding, from, to, write } of accessesOf(command)) {
      const earlier = uses.get(binding.buffer) ?? []
      const kept = earlier.filter((use) => {
        const overlap = use.from < to && from < use.to
        if (overlap && (write || use.write) && use.command !== index) before.add(use.command)
        // Once its bytes are overwritten, a use is no hazard to later commands: they follow the overwriting one.
        return !(write && use.command !== index && from <= use.from && use.to <= to)
      })
      kept.push({ command: index, from, to, write })
      uses.set(binding.buffer, kept)
    }
    return [...before]
  })
}

/** Counts the dispatches of the critical path: the longest chain in which each must follow the one before it. */
export function criticalPath(commands: readonly GraphCommand[]): number {
  const lengths: number[] = []
  dependencies(commands).forEach((before, i) => {
    const earlier = before.reduce((most, index) => Math.max(most, lengths[index]!), 0)
    lengths.push(earlier + (commands[i]!.kind === 'dispatch' ? 1 : 0))
  })
  return lengths.reduce((most, length) => Math.max(most, length), 0)
}
