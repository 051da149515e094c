import { checkFunction, refusal, synchronous } from '../base/checks.ts'
import { ContextVariable } from '../base/contextVariable.ts'
import { ArgumentError } from '../base/errors.ts'
import { getOrMake } from '../base/maps.ts'
import type { Device } from '../device/device.ts'
import { isFloat } from '../layout/dtype.ts'
import { checkTensor } from '../tensor/arguments.ts'
import { innermostScope, Scope } from '../tensor/scope.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { Inputs, OpContext, OpDefinition } from './definition.ts'
import { innermostRecomputation } from './recomputation.ts'
import { TapeNode, taping } from './tapeNode.ts'

export type { DifferentiableContext, Inputs, OpContext, OpDefinition } from './definition.ts'

export type Watcher = (name: string, result: Tensor) => void

/** While set, it is called with every op's name and result; see `watchOps`. */
const watcher = new ContextVariable<Watcher | undefined>(undefined)

/** Passes a result to the watcher of `watchOps`, if any. */
export function reportResult(name: string, result: Tensor): void {
  watcher.current?.(name, result)
}

/**
 * Runs `fn` without recording on the tape: no gradient flows through its results, and no value is saved for backward.
 * @throws ArgumentError when `fn` is no function or returns a promise, since ops after its first await would be recorded
 */
export function noGrad<T>(fn: () => T): T {
  checkFunction('noGrad', fn)
  return synchronous('noGrad', taping.run(false, fn))
}

/** Runs `fn` with recording on the tape, also inside `noGrad`. */
export function enableGrad<T>(fn: () => T): T {
  return taping.run(true, fn)
}

/**
 * Runs `fn` and calls `watch` with the name and result of every op inside it. Gradients go by the name `<op>.backward`.
 * @throws ArgumentError unless both arguments are functions
 */
export function watchOps<T>(watch: Watcher, fn: () => T): T {
  checkFunction('watchOps', watch, 'watch')
  checkFunction('watchOps', fn, 'fn')
  return watcher.run(watch, fn)
}

/**
 * Makes an op: a function of inputs and arguments that records itself on the tape where an input needs a gradient.
 * @throws ArgumentError for a definition without name or forward, and from the op unless its inputs are live tensors of one device
 */
export function defineOp<I extends Inputs, A = undefined>(definition: OpDefinition<I, A>): (inputs: I, args: A) => Tensor {
  if (typeof definition?.name !== 'string') throw refusal('defineOp', definition?.name, 'an object with a text as name', 'name')
  checkFunction('defineOp', definition.forward, 'forward')
  for (const name of ['backward', 'differentiableBackward'] as const)
    if (definition[name] !== undefined) checkFunction('defineOp', definition[name], name)
  return (inputs, args) => {
    const device = deviceOf(definition.name, inputs)
    innermostRecomputation.current?.reads(definition.name, inputs)
    const outerOp = device.op
    device.op = definition.name
    const node = taping.current && inputs.some(requiresGrad) ? new TapeNode(definition, inputs, args) : undefined
    try {
      const out = runForward(definition, node ?? offTape(inputs.length), inputs, args)
      node?.end(out)
      if (node && isFloat(out.dtype)) {
        out.requiresGrad = true
        out.node = node
      } else node?.release()
      reportResult(definition.name, out)
      return out
    } catch (error) {
      node?.release()
      throw error
    } finally {
      device.op = outerOp
    }
  }
}

function requiresGrad(input: Tensor | undefined): boolean {
  return input?.requiresGrad ?? false
}

/** Runs the forward pass of an op off the tape and in a scope, which frees all but the result. */
function runForward<I extends Inputs, A>({ name, forward }: OpDefinition<I, A>, ctx: OpContext, inputs: I, args: A): Tensor {
  const [taped, outer] = [taping.current, innermostScope.current]
  const inner = new Scope()
  let out: Tensor | undefined
  taping.current = false
  innermostScope.current = inner
  try {
    out = synchronous(name, forward(ctx, inputs, args))
    // A forward that returns its input gets a view of it, since the tape needs a tensor of its own.
    if (inputs.includes(out)) out = out.detach()
    return out
  } finally {
    taping.current = taped
    innermostScope.current = outer
    inner.end((object) => object === out, outer)
  }
}

/** The contexts of ops that no input needs a gradient of, by the number of inputs. They keep nothing. */
const untaped = new Map<number, OpContext>()

function offTape(inputs: number): OpContext {
  return getOrMake(untaped, inputs, () => ({
    needs: new Array(inputs).fill(false),
    saved: [],
    saveForBackward() {},
    gradOut() {
      throw new Error('gradOut: nothing is differentiated')
    },
  }))
}

/** The device of an op's inputs. @throws ArgumentError unless there are inputs and all are live tensors of one device */
export function deviceOf(op: string, inputs: Inputs): Device {
  let device: Device | undefined
  for (const input of inputs) {
    if (input === undefined) continue
    checkTensor(op, input)
    device ??= input.device
    if (input.device !== device) throw new ArgumentError(`${op}: tensors of two devices; move one with data() first`)
  }
  if (!device) throw new ArgumentError(`${op}: got no tensors, takes at least one`)
  return device
}
