#!/usr/bin/env node
import { makeProgram, runProgram } from '../train/cli/program.ts'
import { benchCommand } from './command.ts'

await runProgram(makeProgram([benchCommand()]))
