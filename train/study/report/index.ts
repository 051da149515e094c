export { makeReport, type Report, writeReport } from './report.ts'
