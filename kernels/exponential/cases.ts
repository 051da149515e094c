import { between, functionCases, magnitudes } from '../functions.ts'

const tiny = magnitudes(1e-9, 1e-3)

export const exponentialCases = functionCases(
  {
    erf: { fills: { '-4 to 4': between(-4, 4), tiny, 'near 1': between(0.95, 1.05), large: magnitudes(3, 1e30) } },
    exp2: {
      fills: { ordinary: 'normal', 'far to both sides': between(-120, 120), 'whole numbers': (index) => (index % 250) - 125 },
    },
    log2: { fills: { ordinary: between(0.1, 4), 'near 1': between(0.99, 1.01), large: between(1, 1e30) } },
    log1p: { fills: { ordinary: between(-0.9, 4), tiny, large: between(1, 1e30) } },
    expm1: { fills: { ordinary: between(-3, 3), tiny, far: between(-80, 20) } },
  },
  'x',
  ['x', 'y'],
  {},
)

export const exponentialBackwardCases = functionCases(
  {
    erf: { fills: { '-4 to 4': between(-4, 4) } },
    exp2: { fills: { ordinary: between(0.1, 4) } },
    log2: { fills: { ordinary: between(0.1, 4) } },
    log1p: { fills: { ordinary: between(-0.9, 4) } },
    expm1: { fills: { ordinary: between(-0.9, 4) } },
  },
  'saved',
  ['grad', 'saved', 'out'],
  {},
)
