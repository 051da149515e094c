import { isPlanned, type PlannedBuffer } from '../memory/deviceBuffer.ts'
import { accessesOf, changesWithReplay, type GraphCommand } from './graph.ts'

/**
 * Leaves out commands whose results nothing reads, such as the last op of a recomputed segment. Commands that change from replay to replay
 * stay, because they may draw random numbers, on which later ones depend.
 */
export function eliminateDeadCode(commands: readonly GraphCommand[]): GraphCommand[] {
  const read = new Set<PlannedBuffer>()
  const isUsed = (command: GraphCommand): boolean => {
    if (changesWithReplay(command)) return true
    const written = accessesOf(command).filter(({ write }) => write)
    return written.some(({ binding: { buffer } }) => !isPlanned(buffer) || !buffer.released || read.has(buffer))
  }
  // Going backwards, a command that is used makes the commands used that write what it reads.
  const used = commands.toReversed().filter((command) => {
    if (!isUsed(command)) return false
    for (const { binding } of accessesOf(command)) if (isPlanned(binding.buffer)) read.add(binding.buffer)
    return true
  })
  return used.reverse()
}
