import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { previousTimes } from '../../bench/history.ts'
import { UserError } from '../../engine/base/errors.ts'
import { suite } from '../harness/suite.ts'

const { test, run } = suite('bench history')

test('lines that are no run are refused by number and field', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'paraformer-history-'))
  const write = (line: string) => writeFileSync(join(folder, 'x.jsonl'), `${good}\n${line}\n`)
  const good = JSON.stringify({ method: 2, date: 'd', times: { a: [1, 1, 2] }, new: 1 })
  for (const [line, expected] of [
    ['not json', /line 2 is no run of paraformer bench \(it is not JSON: "not json"\)/],
    ['null', /it is null, not an object/],
    ['{"date":"d"}', /it lacks times/],
    ['{"date":"d","times":null}', /times is null, not an object/],
    ['{"date":"d","times":[]}', /times is \[\], not an object/],
    ['{"date":"d","times":{"a":null}}', /times\.a is null, not a list of milliseconds/],
    ['{"date":"d","times":{"a":["x"]}}', /times\.a\.0 is "x", not a number/],
    ['{"date":7,"times":{}}', /date is 7, not a text/],
    ['{"method":"x","date":"d","times":{}}', /method is "x", not a whole number/],
  ] as const) {
    write(line)
    const error = await previousTimes(folder, 'x').catch((thrown: unknown) => thrown)
    if (!(error instanceof UserError) || !expected.test(error.message) || !error.message.includes('x.jsonl: line 2'))
      throw new Error(`${line}: ${error}`)
  }
  write(JSON.stringify({ method: 2, date: 'e', times: { a: [3] } }))
  const found = await previousTimes(folder, 'x')
  if (JSON.stringify([...found]) !== '[["a",{"date":"e","median":3}]]') throw new Error(JSON.stringify([...found]))
  rmSync(folder, { recursive: true })
})

run()
