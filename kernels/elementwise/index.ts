import type { KernelEntry } from '../spec.ts'
import { accumulate, accumulateHalf } from './accumulate.ts'
import { addFour } from './addFour.ts'
import { binary, binaryHalf, binaryInt } from './binary.ts'
import * as cases from './cases.ts'
import { castToFloat, castToInt } from './cast.ts'
import { chain } from './chain.ts'
import { pow, powBackward } from './pow.ts'
import * as reference from './reference.ts'
import { scalar, scalarHalf, scalarInt } from './scalar.ts'
import { unary, unaryBackward, unaryBackwardHalf, unaryHalf } from './unary.ts'
import { where } from './where.ts'

export * from './accumulate.ts'
export * from './addFour.ts'
export * from './binary.ts'
export * from './cast.ts'
export * from './chain.ts'
export * from './pow.ts'
export * from './scalar.ts'
export * from './unary.ts'
export * from './where.ts'

export const entries: KernelEntry[] = [
  { spec: unary, cases: cases.unaryCases, reference: reference.unaryReference },
  { spec: unaryBackward, cases: cases.unaryBackwardCases, reference: reference.unaryBackwardReference },
  { spec: unaryHalf, cases: cases.unaryHalfCases, reference: reference.unaryReference },
  { spec: unaryBackwardHalf, cases: cases.unaryBackwardHalfCases, reference: reference.unaryBackwardReference },
  { spec: binary, cases: cases.binaryCases, reference: reference.binaryReference },
  { spec: binaryHalf, cases: cases.binaryHalfCases, reference: reference.binaryReference },
  { spec: binaryInt, cases: cases.binaryIntCases, reference: reference.binaryIntReference },
  { spec: addFour, cases: cases.addFourCases, reference: reference.addFourReference },
  { spec: scalar, cases: cases.scalarCases, reference: reference.scalarReference },
  { spec: scalarHalf, cases: cases.scalarHalfCases, reference: reference.scalarReference },
  { spec: scalarInt, cases: cases.scalarIntCases, reference: reference.scalarIntReference },
  { spec: castToInt, cases: cases.castToIntCases, reference: reference.castReference },
  { spec: castToFloat, cases: cases.castToFloatCases, reference: reference.castReference },
  { spec: pow, cases: cases.powCases, reference: reference.powReference },
  { spec: powBackward, cases: cases.powBackwardCases, reference: reference.powBackwardReference },
  { spec: where, cases: cases.whereCases, reference: reference.whereReference },
  { spec: accumulate, cases: cases.accumulateCases, reference: reference.accumulateReference },
  { spec: accumulateHalf, cases: cases.accumulateCases, reference: reference.accumulateReference },
  { spec: chain, cases: cases.chainCases, reference: reference.chainReference },
]
