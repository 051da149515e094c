import type { Command } from 'commander'
import { TuningDatabase, type TuningRecord } from '../../engine/autotune/database.ts'
import { DeviceStore } from '../../engine/autotune/store.ts'
import { listAdapters } from '../../engine/index.ts'
import { makeCommand } from './options.ts'
import { printable, printJson } from './printable.ts'

/** Makes the command `paraformer devices`. */
export function devicesCommand(): Command {
  return makeCommand('devices')
    .description('list the adapters that can be used, with features, limits, subgroup sizes and what tuning found out on them')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const found = await listAdapters()
      const stores = await Promise.all(found.map((summary) => DeviceStore.open(summary)))
      const adapters = found.map((summary, i) => {
        return { ...summary, tuned: Object.fromEntries(new TuningDatabase(stores[i]!).all()) }
      })
      if (json) return printJson(adapters)
      for (const { name, driver, software, subgroupMinSize, subgroupMaxSize, features, limits, tuned } of adapters) {
        const size = subgroupMinSize === subgroupMaxSize ? `${subgroupMinSize}` : `${subgroupMinSize} to ${subgroupMaxSize}`
        console.log(`${printable(name)} (${software ? 'software' : 'hardware'})`)
        console.log(`  driver     ${printable(driver)}`)
        console.log(`  subgroups  ${subgroupMaxSize === 0 ? 'none' : size}`)
        console.log(`  features   ${[...features].sort().join(' ')}`)
        console.log(
          `  limits     ${Object.entries(limits)
            .map(([key, value]) => `${key} ${value}`)
            .join(', ')}`,
        )
        for (const line of tuningLines(tuned)) console.log(printable(line))
      }
    })
}

/** Describes how many shapes were tuned, and which variants are faster than the default ones. */
function tuningLines(tuned: Record<string, TuningRecord>): string[] {
  const answers = Object.entries(tuned)
  const faster = answers.filter(([, { variant, fallback }]) => variant !== fallback)
  const summary = `  tuned      ${answers.length} shapes of kernels, ${faster.length} faster than by default`
  const lines = faster.map(([key, { sizes, variant, fallback, ms }]) => {
    const kernel = key.slice(0, key.indexOf('@'))
    const time = (name: string) => `${name} ${ms[name]!.toPrecision(3)} ms`
    return `             ${kernel} ${sizes.join(' ')}: ${time(variant)}, ${time(fallback)}`
  })
  return [summary, ...lines]
}
