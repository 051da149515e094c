import { byId, element, factsTable } from './dom.ts'
import type { PageWorker } from './protocol.ts'
import { clearTrouble, type Trouble } from './trouble.ts'

/** Shows the device that the page computes on. */
export async function showDevice(client: PageWorker, trouble: Trouble): Promise<void> {
  clearTrouble('device')
  try {
    const { name, driver, software, features, limits, subgroups, tuned } = await client.call('device')
    const tasks = Object.entries(tuned)
    byId('device-table').replaceChildren(
      factsTable([
        ['adapter', name],
        ['driver', driver || 'not told by this browser'],
        ['computes on', software ? 'the CPU; a GPU is many times faster' : 'the GPU'],
        ['subgroups', subgroups],
        ['features', features.join(', ') || 'none'],
      ]),
      element('h2', { textContent: 'Limits' }),
      factsTable(Object.entries(limits).map(([limit, value]) => [limit, value.toLocaleString('en')])),
      element('h2', { textContent: 'Tuned kernels' }),
      tasks.length === 0 ? element('p', { textContent: 'None yet: built-in choices run.' }) : factsTable(tasks),
    )
  } catch (error) {
    trouble(error)
  }
}
