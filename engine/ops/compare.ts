import * as kernels from '../../kernels/compare/compare.ts'
import { promoteTypes } from '../autograd/autocast.ts'
import { defineOp, noGrad } from '../autograd/tape.ts'
import { checkNoMore } from '../base/checks.ts'
import { ShapeError } from '../base/errors.ts'
import { type Dtype, scalarOf } from '../layout/dtype.ts'
import { broadcastShapes } from '../layout/shape.ts'
import { checkOperand, checkTensor } from '../tensor/arguments.ts'
import { run } from '../tensor/run.ts'
import { operand } from '../tensor/strided.ts'
import { empty, type Tensor } from '../tensor/tensor.ts'
import { type Operand, wordBeside } from './operands.ts'

const typeOf = (dtype: Dtype): kernels.ComparedType => (dtype === 'int32' ? 'i32' : scalarOf(dtype))

function defineTensors(name: string, relation: kernels.Relation): (a: Tensor, b: Tensor) => Tensor {
  const op = defineOp<[Tensor, Tensor]>({
    name,
    forward(_ctx, [a, b]) {
      const out = empty(broadcastShapes(name, a.shape, b.shape), 'int32', a.device)
      const [left, right] = [operand(a, out.shape), operand(b, out.shape)]
      run(kernels.compare, kernels.compareProblem(relation, typeOf(a.dtype), left.layout, right.layout), [
        ...[left.bound, right.bound, out],
      ])
      return out
    },
  })
  return (a, b) => noGrad(() => op(promoteTypes([a, b]) as [Tensor, Tensor], undefined))
}

function defineNumber(name: string): (x: Tensor, question: kernels.Question, number: number) => Tensor {
  const op = defineOp<[Tensor], { op: kernels.Question; number: number }>({
    name,
    forward(_ctx, [input], args) {
      const x = input.contiguous()
      const out = empty(x.shape, 'int32', x.device)
      run(kernels.compareNumber, { ...args, count: x.size, dtype: typeOf(x.dtype) }, [x, out])
      return out
    },
  })
  return (x, question, number) => noGrad(() => op([x], { op: question, number }))
}

type Comparison = 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge'

/** The comparison that holds of swapped operands. */
const SWAPPED: Record<Comparison, Comparison> = { eq: 'eq', ne: 'ne', lt: 'gt', le: 'ge', gt: 'lt', ge: 'le' }

function define(name: Comparison): (a: Operand, b: Operand, ...extra: []) => Tensor {
  const tensors = defineTensors(name, name)
  const withNumber = defineNumber(name)
  return (a, b, ...extra) => {
    checkOperand(name, a)
    checkOperand(name, b)
    checkNoMore(name, extra)
    if (typeof a !== 'number') return typeof b !== 'number' ? tensors(a, b) : withNumber(a, name, wordBeside(name, a, b))
    if (typeof b === 'number') throw new ShapeError(`${name}: got two numbers, takes at least one tensor`)
    return withNumber(b, SWAPPED[name], wordBeside(name, b, a))
  }
}

/**
 * 1 where a = b, else 0, as int32, with NumPy's broadcasting; either may be a number. NaN equals nothing.
 * @throws ShapeError for shapes that do not broadcast
 */
export const eq = define('eq')
/**
 * 1 where a and b differ, else 0, as int32, with NumPy's broadcasting; either may be a number. NaN differs from all.
 * @throws ShapeError for shapes that do not broadcast
 */
export const ne = define('ne')
/**
 * 1 where a < b, else 0, as int32, with NumPy's broadcasting; either may be a number.
 * @throws ShapeError for shapes that do not broadcast
 */
export const lt = define('lt')
/**
 * 1 where a <= b, else 0, as int32, with NumPy's broadcasting; either may be a number.
 * @throws ShapeError for shapes that do not broadcast
 */
export const le = define('le')
/**
 * 1 where a > b, else 0, as int32, with NumPy's broadcasting; either may be a number.
 * @throws ShapeError for shapes that do not broadcast
 */
export const gt = define('gt')
/**
 * 1 where a >= b, else 0, as int32, with NumPy's broadcasting; either may be a number.
 * @throws ShapeError for shapes that do not broadcast
 */
export const ge = define('ge')

function defineLogical(name: string, relation: 'and' | 'or'): (a: Tensor, b: Tensor, ...extra: []) => Tensor {
  const tensors = defineTensors(name, relation)
  return (a, b, ...extra) => {
    checkTensor(name, a)
    checkTensor(name, b)
    checkNoMore(name, extra)
    return tensors(a, b)
  }
}

/**
 * 1 where a and b are both not 0, else 0, as int32, with NumPy's broadcasting. NaN counts as not 0.
 * @throws ShapeError for shapes that do not broadcast
 */
export const logicalAnd = defineLogical('logicalAnd', 'and')
/**
 * 1 where a or b is not 0, else 0, as int32, with NumPy's broadcasting. NaN counts as not 0.
 * @throws ShapeError for shapes that do not broadcast
 */
export const logicalOr = defineLogical('logicalOr', 'or')

function defineQuestion(name: string, question: kernels.Question): (x: Tensor, ...extra: []) => Tensor {
  const ask = defineNumber(name)
  return (x, ...extra) => {
    checkTensor(name, x)
    checkNoMore(name, extra)
    return ask(x, question, 0)
  }
}

/** 1 where x is 0, else 0, as int32, of any dtype. NaN counts as not 0. */
export const logicalNot = defineQuestion('logicalNot', 'eq')
/** 1 where x is NaN, else 0, as int32, of any dtype. */
const areNaN = defineQuestion('isNaN', 'isNaN')
/** 1 where x is neither NaN nor infinite, else 0, as int32, of any dtype. */
const areFinite = defineQuestion('isFinite', 'isFinite')

// The linter forbids declarations that hide JavaScript's own functions.
export { areFinite as isFinite, areNaN as isNaN }
