// The example of a study, run as a user runs it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../harness/suite.ts'
import { makeUser } from '../harness/user.ts'

const user = makeUser()
const { test, slow, run } = suite('example of a study')
const study = (...args: string[]) => user.start('npx', 'paraformer', 'study', 'run', 'examples/ownStudy.ts', ...args)

test('it is a study of ten runs', () => {
  const said = study('--dry-run')
  assert.match(said, /10 of 10 are missing/)
})

slow('it runs, and its arms differ by the branches that one of them drops', () => {
  study('--seeds', '1,2')
  const lines = readFileSync(join(user.folder, 'runs/studies/drop-branches-tiny/results.jsonl'), 'utf8').trimEnd().split('\n')
  const results = lines.map((line) => JSON.parse(line) as { arm: string; final: { test: { accuracy: number[] } } })
  assert.equal(
    results.map(({ arm }) => arm),
    ['joint', 'drop', 'joint', 'drop'],
  )
  const first = (name: string) => {
    const accuracies = results.filter(({ arm }) => arm === name).map(({ final }) => final.test.accuracy[0]!)
    return (accuracies[0]! + accuracies[1]!) / 2
  }
  assert.ok(first('drop') > first('joint') + 0.05, lines.join('\n'))
  const report = user.start('npx', 'paraformer', 'study', 'report', 'runs/studies/drop-branches-tiny')
  assert.match(report, /\d+ figures: runs\/studies\/drop-branches-tiny\/report\.html/)
})

test('ends', () => user.remove())
run()
