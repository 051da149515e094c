import { circleOf, type Graph, reachable } from './graph.ts'

/** Folders of engine/ from the bottom up, with its entries and its other top-level files by their own names. */
const ENGINE = [
  'base',
  'layout',
  'platform',
  'memory',
  'submit',
  'graph',
  'device',
  'tensor',
  'autograd',
  'ops',
  '*.ts',
  'trace',
  'autotune',
  'functions.ts',
  'index.ts',
].map((name) => `engine/${name}`)

/** Folders that no other folder may import, except that tests import what they test, and the page shows what the bench finds. */
const LEAVES = ['bench', 'web', 'examples', 'test']

/** Every place from the bottom up: a module imports only from its own place and from those before it. */
export const PLACES: readonly string[] = ['kernels', ...ENGINE, 'model', 'train', ...LEAVES]

/** The place of a module: a folder of engine/, or another top-level folder. */
export function placeOf(file: string): string {
  const [top = '', second = '', ...rest] = file.split('/')
  if (top !== 'engine') return top
  const own = rest.length > 0 || ENGINE.includes(`engine/${second}`)
  return own ? `engine/${second}` : 'engine/*.ts'
}

/** Whether a module may import another by the order of their places. @throws Error for a place that has no order */
export function isAllowed(file: string, target: string): boolean {
  const [from, to] = [placeOf(file), placeOf(target)]
  for (const place of [from, to]) if (!PLACES.includes(place)) throw new Error(`${place} is missing in test/house/order.ts`)
  if (from === to) return true
  if (LEAVES.includes(to) && from !== 'test' && !(from === 'web' && to === 'bench')) return false
  return PLACES.indexOf(to) < PLACES.indexOf(from)
}

/** Imports that break a rule, each as `file -> target`, with what is wrong with it. */
export function wrongImports(imports: Graph): Map<string, string> {
  const wrong = new Map<string, string>()
  const ordered = new Map<string, string[]>()
  for (const [file, targets] of imports) {
    ordered.set(
      file,
      targets.filter((target) => isAllowed(file, target)),
    )
    for (const target of targets) {
      if (!isAllowed(file, target)) wrong.set(`${file} -> ${target}`, `${placeOf(file)} must not import ${placeOf(target)}`)
    }
  }
  // Circles that lead through a wrong import are gone with it.
  for (const [file, targets] of ordered) {
    for (const target of targets) {
      if (target === file || reachable(ordered, target).has(file)) {
        wrong.set(`${file} -> ${target}`, `a circle: ${circleOf(ordered, file, target)}`)
      }
    }
  }
  return wrong
}
