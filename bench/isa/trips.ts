import type { Instruction } from './mix.ts'

/** A shader's instructions in the order of its code, and the words of its uniform buffer as far as they are known. */
export interface Program {
  instructions: readonly Instruction[]
  uniforms: readonly number[]
  /** Registers of descriptors of storage buffers, as `storageDescriptors` finds them. */
  storage: ReadonlySet<string>
}

const NUMBER = /^(?:0x[0-9a-f]+|-?\d+)$/
/** Instructions whose first operand is not written. */
const WRITES_NONE =
  /^(?:s_cmp|s_cbranch|s_branch|s_bitcmp|buffer_store|global_store|scratch_store|ds_store|ds_write|s_waitcnt|s_nop)/
/** Scalar instructions that set the condition code of branches. */
const SETS_CONDITION =
  /^s_(?:cmpk?|bitcmp\d|add|sub|addk|and|or|xor|nand|nor|not|lshl|lshr|ashr|min|max|bfe|bcnt|abs|ff1|flbit|wqm)\w*_[iub]\d/
const DEPTH = 24
/** Instructions from a comparison to the branch that it decides. */
const TEST = 24

/** Returns the operands of an instruction; of one with a name such as `s[4:7]` that name. */
export function operandsOf(text: string): string[] {
  return text
    .replace(/^\S+\s*/, '')
    .split(',')
    .map((operand) => operand.trim().split(' ')[0]!)
}

/** Returns the descriptors of storage buffers: those that a vector instruction reads or writes memory by, by the place that they are loaded from. */
export function storageDescriptors(instructions: readonly Instruction[]): Set<string> {
  const found = new Set<string>()
  instructions.forEach(({ op, text }, i) => {
    if (!/^buffer_/.test(op)) return
    const descriptor = operandsOf(text).find((operand) => /^s\[/.test(operand))
    const place = descriptor && placeOf(instructions, descriptor, i)
    if (place) found.add(place)
  })
  return found
}

/** Returns the pointer and the offset that a descriptor is loaded from. */
function placeOf(instructions: readonly Instruction[], descriptor: string, before: number): string | undefined {
  for (let i = before - 1; i >= 0; i--) {
    const { op, text } = instructions[i]!
    if (!/^s_load_/.test(op)) continue
    const [to, from, offset] = operandsOf(text)
    if (to === descriptor) return `${pointerOf(instructions, from!, i)} ${offset}`
  }
  return undefined
}

/** Follows moves of a pointer's low word to the register in which the shader gets it. */
function pointerOf(instructions: readonly Instruction[], pair: string, before: number): string {
  let register = /^s\[(\d+):/.exec(pair)?.[1] ?? pair
  for (let i = before - 1; i >= 0; i--) {
    const { op, text } = instructions[i]!
    const [to, from] = operandsOf(text)
    if (op === 's_mov_b32' && to === `s${register}` && /^s\d+$/.test(from!)) register = from!.slice(1)
  }
  return register
}

/**
 * Returns the value of a register before an instruction, in the first workgroup; undefined where the code does not tell. A minimum of an unknown
 * value and a number is the number, so that blocks of a longer line have their whole length.
 */
export function valueBefore(program: Program, register: string, before: number, depth = 0): number | undefined {
  if (NUMBER.test(register)) return Number(register)
  const number = /^[sv](\d+)$/.exec(register)
  if (!number || depth > DEPTH) return undefined
  for (let i = before - 1; i >= 0; i--) {
    const { op, text } = program.instructions[i]!
    const [to = '', ...from] = operandsOf(text)
    const word = WRITES_NONE.test(op) ? undefined : wordOf(to, register)
    if (word === undefined) continue
    const operand = (j: number) => valueBefore(program, from[j] ?? '', i, depth + 1)
    return evaluate(program, op, from, word, operand, i)
  }
  // The registers that a shader starts with: the numbers of the workgroup and of the invocation.
  return 0
}

/** Returns which word of a destination a register is: 1 for s5 of `s[4:7]`. */
function wordOf(destination: string, register: string): number | undefined {
  if (destination === register) return 0
  const range = /^([sv])\[(\d+):(\d+)\]$/.exec(destination)
  if (!range || range[1] !== register[0]) return undefined
  const number = Number(register.slice(1))
  return number >= Number(range[2]) && number <= Number(range[3]) ? number - Number(range[2]) : undefined
}

function evaluate(
  program: Program,
  op: string,
  from: readonly string[],
  word: number,
  operand: (j: number) => number | undefined,
  at: number,
): number | undefined {
  if (/^s_buffer_load_/.test(op)) {
    const place = placeOf(program.instructions, from[0]!, at)
    const offset = from[1] === 'null' ? 0 : Number(from[1])
    return place !== undefined && !program.storage.has(place) ? program.uniforms[offset / 4 + word] : undefined
  }
  const [a, b, c] = [operand(0), operand(1), operand(2)]
  const binary = (compute: (a: number, b: number) => number) => (a === undefined || b === undefined ? undefined : compute(a, b))
  const name = op.replace(/_(?:e32|e64)$/, '')
  switch (name) {
    case 's_mov_b32':
    case 's_movk_i32':
    case 'v_mov_b32':
    case 'v_readfirstlane_b32':
      return a
    case 's_mov_b64':
      return word === 0 ? a : undefined
    case 's_add_u32':
    case 's_add_i32':
    case 'v_add_nc_u32':
      return binary((x, y) => (x + y) >>> 0)
    case 's_sub_u32':
    case 's_sub_i32':
    case 'v_sub_nc_u32':
      return binary((x, y) => x - y)
    case 's_mul_i32':
    case 'v_mul_lo_u32':
    case 'v_mul_u32_u24':
      return binary((x, y) => x * y)
    case 's_lshl_b32':
      return binary((x, y) => x * 2 ** y)
    case 's_lshr_b32':
      return binary((x, y) => Math.floor(x / 2 ** y))
    case 'v_lshlrev_b32':
      return binary((x, y) => y * 2 ** x)
    case 'v_lshrrev_b32':
      return binary((x, y) => Math.floor(y / 2 ** x))
    case 's_and_b32':
    case 'v_and_b32':
      return binary((x, y) => (x & y) >>> 0)
    case 's_min_u32':
    case 's_min_i32':
    case 'v_min_u32':
      if (a !== undefined && b !== undefined) return Math.min(a, b)
      return from
        .slice(0, 2)
        .map((operand) => (NUMBER.test(operand) ? Number(operand) : undefined))
        .find((value) => value !== undefined)
    case 's_max_u32':
    case 's_max_i32':
    case 'v_max_u32':
      return binary(Math.max)
    case 's_cselect_b32':
      return a ?? b
    case 'v_add3_u32':
      return a === undefined || b === undefined || c === undefined ? undefined : a + b + c
  }
  const shifted = /^s_lshl(\d)_add_u32$/.exec(name)
  return shifted ? binary((x, y) => x * 2 ** Number(shifted[1]) + y) : undefined
}

/**
 * Returns how often a loop runs, from its counter's begin, step and end; undefined where one of them is unknown.
 * @param own numbers of the instructions of the loop, without those of loops inside
 * @param leaves whether an instruction is a branch out of the loop or back to its begin
 */
export function tripsOf(program: Program, own: readonly number[], leaves: (i: number) => boolean): number | undefined {
  const { instructions } = program
  const steps = new Map<string, number>()
  for (const i of own) addStep(steps, instructions[i]!)
  for (const i of own) addDerivedStep(steps, instructions[i]!)
  const tests = own.filter((_, j) => own.slice(j, j + TEST).some(leaves) || reaches(instructions, own.slice(j + 1), leaves))
  for (const i of tests) {
    const { op, text } = instructions[i]!
    if (!/^(?:s_cmpk?|v_cmpx?)_(?:ge|gt|lt|le)_/.test(op)) continue
    const operands = operandsOf(text).filter((operand) => !/^(?:vcc|exec|s\[)/.test(operand))
    const counter = operands.find((operand) => steps.has(operand))
    const other = operands.find((operand) => operand !== counter)
    if (counter === undefined || other === undefined) continue
    const begin = valueBefore(program, counter, own[0]!) ?? 0
    const end = valueBefore(program, other, i)
    if (end === undefined) continue
    const trips = Math.ceil((end - begin) / steps.get(counter)!)
    if (trips >= 1) return trips
  }
  return undefined
}

/** Whether the condition that an instruction sets is that of a branch out of the loop: no scalar instruction between sets another one. */
function reaches(instructions: readonly Instruction[], later: readonly number[], leaves: (i: number) => boolean): boolean {
  const next = later.find((i) => leaves(i) || SETS_CONDITION.test(instructions[i]!.op))
  return next !== undefined && leaves(next)
}

/** Notes a counter that is raised by a number. */
function addStep(steps: Map<string, number>, { op, text }: Instruction): void {
  const [to, ...from] = operandsOf(text)
  if (op === 's_addk_i32' && NUMBER.test(from[0] ?? '')) steps.set(to!, Number(from[0]))
  if (!/^(?:s_add_[ui]32|v_add_nc_u32)/.test(op) || !from.includes(to!)) return
  const step = from.find((operand) => NUMBER.test(operand))
  if (step !== undefined) steps.set(to!, Number(step))
}

/** Notes a multiple of a counter. */
function addDerivedStep(steps: Map<string, number>, { op, text }: Instruction): void {
  const [to, from, by] = operandsOf(text)
  const step = steps.get(from ?? '')
  const shift = /^s_lshl(\d)_add_u32/.exec(op)?.[1] ?? (op === 's_lshl_b32' ? by : undefined)
  if (step === undefined || to === from || steps.has(to!)) return
  if (shift !== undefined && NUMBER.test(shift)) steps.set(to!, step * 2 ** Number(shift))
  else if (op === 's_mul_i32' && NUMBER.test(by ?? '')) steps.set(to!, step * Number(by))
}
