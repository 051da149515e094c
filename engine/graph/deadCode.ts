import { isPlanned, type PlannedBuffer } from '../memory/deviceBuffer.ts'
import { accessesOf, changesWithReplay, type GraphCommand } from './graph.ts'

/**
 * The commands without those whose results nobody reads, such as the last op of what is computed again for backward. What
 * changes from replay to replay stays: it may draw random numbers, on which later ones depend.
 */
export function eliminateDeadCode(commands: readonly GraphCommand[]): GraphCommand[] {
  const read = new Set<PlannedBuffer>()
  const isUsed = (command: GraphCommand): boolean => {
    if (changesWithReplay(command)) return true
    const written = accessesOf(command).filter(({ write }) => write)
    return written.some(({ binding: { buffer } }) => !isPlanned(buffer) || !buffer.released || read.has(buffer))
  }
  // From the last on: a command that is used makes those that write what it reads used too.
  const used = commands.toReversed().filter((command) => {
    if (!isUsed(command)) return false
    for (const { binding } of accessesOf(command)) if (isPlanned(binding.buffer)) read.add(binding.buffer)
    return true
  })
  return used.reverse()
}
