import { type Device, requestDevice } from '../../engine/index.ts'
import { announce } from '../../train/cli/device.ts'
import { Interrupt } from '../../train/cli/interrupt.ts'
import { table } from '../../train/cli/table.ts'
import { BatchLoader } from '../../train/index.ts'
import { DeviceImages } from '../../train/run/deviceImages.ts'
import { significant } from '../format.ts'
import { type Quantiles, quantiles } from '../statistics.ts'
import type { ImagesFlags } from './flags.ts'

/** Stored images, which batches pick from. */
const STORED = 1024
/** Batches of a round: the host makes them ahead of each other in its thread. */
const BATCHES = 4
const MIN_ROUNDS = 3

/** Images a second of one way to make them. */
interface ImagesRow {
  made: 'host, a thread' | 'device'
  rate: Quantiles
}

interface ImagesReport {
  date: string
  device: Device['summary']
  from: number
  size: number
  operations: number
  batch: number
  rounds: number
  rows: ImagesRow[]
  /** The device's rate over the host's, by the ratios round by round. */
  overHost: Quantiles
}

/** Runs `paraformer bench images`. @throws Error when host and device make other bits */
export async function benchImages(flags: ImagesFlags): Promise<void> {
  const interrupt = new Interrupt()
  interrupt.says = 'ending after this round; once more ends at once'
  const device = await requestDevice({ adapter: flags.adapter })
  try {
    announce(device)
    const report = await timeImages(device, flags, interrupt)
    console.log(flags.json ? JSON.stringify(report, null, 2) : textReport(report))
    if (interrupt.asked) interrupt.end()
  } finally {
    device.destroy()
    interrupt.close()
  }
}

/** Photograph-like bytes [STORED, 3, side, side] in memory that threads share. */
function storedImages(side: number): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(STORED * 3 * side * side))
  for (let i = 0; i < bytes.length; i++) {
    const [x, y, plane] = [i % side, Math.floor(i / side) % side, Math.floor(i / (side * side))]
    bytes[i] = 110 + 60 * Math.sin((x * (1 + (plane % 5))) / side + plane) + 50 * Math.cos((9 * y) / side) + ((i * 7919) % 23)
  }
  return bytes
}

async function timeImages(device: Device, flags: ImagesFlags, interrupt: Interrupt): Promise<ImagesReport> {
  const { from, size, operations, batch, quick, time } = flags
  const split = { images: storedImages(from), labels: new Uint8Array(STORED), count: STORED }
  const source = { channels: 3, height: from, width: from, mean: [0.49, 0.48, 0.45], std: [0.25, 0.24, 0.26] }
  const augment = { cropPadding: 4, flip: true, randAugment: { n: operations, magnitude: 14 } }
  const makeLoader = () => new BatchLoader(source, split, { batchSize: batch, imageSize: size, augment, dropLast: true })
  const [host, places] = [makeLoader(), makeLoader()]
  const made = DeviceImages.of(device, places)
  if (!made) throw new Error(`the device does not take a batch of ${batch} images of ${size} pixels`)
  const onDevice = async () => {
    const input = made.input(await made.next(), 0, batch)
    const images = made.images(input)
    input.dispose()
    return images
  }
  try {
    const first = await onDevice()
    const [expected, actual] = await Promise.all([host.next(), first.data()])
    first.dispose()
    const odd = expected.images.findIndex((value, i) => value !== actual[i])
    if (odd >= 0) throw new Error(`value ${odd} is ${actual[odd]} on the device, ${expected.images[odd]} on the host`)
    const rates: [host: number[], device: number[]] = [[], []]
    const began = performance.now()
    while (rates[0].length < (quick ? 1 : MIN_ROUNDS) || (!quick && performance.now() - began < 2 * time && !interrupt.asked)) {
      // Batches that the thread made ahead while the device was timed would count as made in no time.
      for (let i = 0; i < BATCHES; i++) await host.next()
      let start = performance.now()
      for (let i = 0; i < BATCHES; i++) await host.next()
      rates[0].push((1000 * BATCHES * batch) / (performance.now() - start))
      await host.idle()
      start = performance.now()
      for (let i = 0; i < BATCHES; i++) (await onDevice()).dispose()
      await device.synchronize()
      rates[1].push((1000 * BATCHES * batch) / (performance.now() - start))
    }
    const rows: ImagesRow[] = (['host, a thread', 'device'] as const).map((made, i) => ({ made, rate: quantiles(rates[i]!) }))
    const overHost = quantiles(rates[1].map((rate, round) => rate / rates[0][round]!))
    const asked = { from, size, operations, batch }
    return { date: new Date().toISOString(), device: device.summary, ...asked, rounds: rates[0].length, rows, overHost }
  } finally {
    await host.close()
  }
}

function textReport({ from, size, operations, batch, rounds, rows, overHost }: ImagesReport): string {
  const lines = rows.map(({ made, rate }) => [
    made,
    significant(rate.median),
    `${significant(rate.p20)} to ${significant(rate.p80)}`,
    made === 'device' ? `${significant(overHost.median)}x` : '',
  ])
  const what = `RGB ${from} -> ${size} pixels, crop, flip, RandAugment ${operations}, batch ${batch}; ${rounds} rounds in turn, the same bits`
  return `${what}\n\n${table(['made by', 'images/s', 'p20 to p80', 'over the host'], lines)}`
}
