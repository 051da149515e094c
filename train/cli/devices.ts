import type { Command } from 'commander'
import { listAdapters } from '../../engine/index.ts'
import { makeCommand } from './options.ts'

/** `paraformer devices` */
export function devicesCommand(): Command {
  return makeCommand('devices')
    .description('list the adapters that can be used, with features, limits and subgroup sizes')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const adapters = await listAdapters()
      if (json) return console.log(JSON.stringify(adapters, null, 2))
      for (const { name, driver, software, subgroupMinSize, subgroupMaxSize, features, limits } of adapters) {
        const size = subgroupMinSize === subgroupMaxSize ? `${subgroupMinSize}` : `${subgroupMinSize} to ${subgroupMaxSize}`
        console.log(`${name} (${software ? 'software' : 'hardware'})`)
        console.log(`  driver     ${driver}`)
        console.log(`  subgroups  ${subgroupMaxSize === 0 ? 'none' : size}`)
        console.log(`  features   ${[...features].sort().join(' ')}`)
        console.log(
          `  limits     ${Object.entries(limits)
            .map(([key, value]) => `${key} ${value}`)
            .join(', ')}`,
        )
      }
    })
}
