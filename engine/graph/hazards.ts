import type { DeviceBuffer } from '../memory/deviceBuffer.ts'
import { accessesOf, type GraphCommand } from './graph.ts'

interface Use {
  command: number
  from: number
  to: number
  write: boolean
}

/** For each command those before it that it must follow: reads after writes, writes after reads and writes, of the same bytes. */
export function dependencies(commands: readonly GraphCommand[]): number[][] {
  const uses = new Map<DeviceBuffer, Use[]>()
  return commands.map((command, index) => {
    const before = new Set<number>()
    for (const { binding, from, to, write } of accessesOf(command)) {
      const earlier = uses.get(binding.buffer) ?? []
      const kept = earlier.filter((use) => {
        const overlap = use.from < to && from < use.to
        if (overlap && (write || use.write) && use.command !== index) before.add(use.command)
        // What is overwritten whole is no hazard to anybody later: the overwriting command stands for it.
        return !(write && use.command !== index && from <= use.from && use.to <= to)
      })
      kept.push({ command: index, from, to, write })
      uses.set(binding.buffer, kept)
    }
    return [...before]
  })
}

/** How many dispatches the longest chain has in which each must follow the one before. */
export function longestChain(commands: readonly GraphCommand[]): number {
  const lengths: number[] = []
  dependencies(commands).forEach((before, i) => {
    const earlier = before.reduce((most, one) => Math.max(most, lengths[one]!), 0)
    lengths.push(earlier + (commands[i]!.kind === 'dispatch' ? 1 : 0))
  })
  return lengths.reduce((most, one) => Math.max(most, one), 0)
}
