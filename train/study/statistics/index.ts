export * from './intervals.ts'
export * from './verdict.ts'
