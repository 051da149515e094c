/**
 * Rewrites a shader for devices without subgroup matrices. An operand becomes an array of 256 numbers that every invocation
 * holds whole, in fours; a result becomes 8 numbers in each of 32 lanes. This is slow, but keeps the shader's own algorithm. Loops to a
 * constant get an end that compilers do not know, since their bodies, written out, take minutes to compile. The shader
 * must load, accumulate and store in statements of their own, from and to arrays or parts of arrays that one name numbers, and its
 * `main` must name its builtins `local`, `subgroup`, `lane` and `lanes`.
 * @param size an expression for 16 that keeps drivers from unrolling loops
 */
export function emulateMatrices(source: string, size: string): string {
  const made = new Map<string, string>()
  const text = source
    .replace('enable chromium_experimental_subgroup_matrix;\n', '')
    .replace('requires subgroup_id;\n', '')
    .replace(/subgroup_matrix_(left|right)<f16, 16, 16>/g, 'array<vec4<f16>, 64>')
    .replace('subgroup_matrix_result<f32, 16, 16>', 'array<f32, 8>')
    .replace(
      /([\w[\]* +]+) = subgroupMatrixLoad<(\w+), (row|col)_major>\(&(\w+)(?:\[(\w+)\])?,/g,
      (...[, to, type, major, from, part]) => {
        const name = `load${type}${major}${from}`
        made.set(name, loadFunction(name, type, part ? `${from}[part]` : from, major === 'row'))
        return `${name}(&${to}, ${part ?? '0u'},`
      },
    )
    .replace(
      /subgroupMatrixStore<row_major>\(&(\w+)(?:\[(\w+)\])?, ([^;]+), ([\w[\]* +]+), (\w+)\);/g,
      (_, to, part, offset, value, stride) => {
        const name = `store${to}`
        made.set(name, storeFunction(name, part ? `${to}[part]` : to))
        return `${name}(${part ?? '0u'}, ${offset}, &${value}, ${stride});`
      },
    )
    .replace(
      /([\w[\]* +]+) = subgroupMatrixMultiplyAccumulate\(([\w[\]* +]+), ([\w[\]]+), ([\w[\]* +]+)\);/g,
      (_, to, left, right, start) => {
        if (to.trim() !== start) throw new Error(`${to} = ${start} + …: another matrix`)
        return `multiplyMatrices(&${left}, &${right}, &${start});`
      },
    )
    .replace(/(for \(var (\w+) = 0u; \2 < )([A-Z_]+);/g, '$1$3 * (SIXTEEN / 16u);')
    .replace(/@builtin\(subgroup\w+\) \w+: u32,\s*/g, '')
    .replace(
      /,\s*\) \{\n/,
      ',\n) {\n  emulatedLane = local % 32u;\n  let subgroup = local / 32u;\n  let lane = emulatedLane;\n  let lanes = 32u;\n',
    )
  if (made.size === 0 || /subgroup_?[Mm]atrix/.test(text.replace(/^\/\/.*$/gm, '')))
    throw new Error('left unemulated: subgroup matrices')
  return `${text}\nvar<private> emulatedLane: u32;\n${[multiplyFunction, ...made.values()].join('\n')}`.replaceAll(
    'SIXTEEN',
    size,
  )
}

function loadFunction(name: string, type: string, from: string, rows: boolean): string {
  if (type === 'Result') {
    return `fn ${name}(to: ptr<function, Result>, part: u32, offset: u32, stride: u32) {
  for (var j = 0u; j < SIXTEEN / 2u; j++) {
    let e = emulatedLane + 32u * j;
    (*to)[j] = ${from}[offset + e / 16u * stride + e % 16u];
  }
}`
  }
  // Fours lie along the sum of a product, on both sides.
  const along = rows === (type === 'Left')
  const element = (i: number) => `${from}[at${along ? ` + ${i}u` : ` + ${i}u * stride`}]`
  return `fn ${name}(to: ptr<function, ${type}>, part: u32, offset: u32, stride: u32) {
  for (var i = 0u; i < 4u * SIXTEEN; i++) {
    let at = offset + ${along ? 'i / 4u * stride + i % 4u * 4u' : 'i / 4u + i % 4u * 4u * stride'};
    (*to)[i] = vec4(${[0, 1, 2, 3].map(element).join(', ')});
  }
}`
}

function storeFunction(name: string, to: string): string {
  return `fn ${name}(part: u32, offset: u32, value: ptr<function, Result>, stride: u32) {
  for (var j = 0u; j < SIXTEEN / 2u; j++) {
    let e = emulatedLane + 32u * j;
    ${to}[offset + e / 16u * stride + e % 16u] = (*value)[j];
  }
}`
}

const multiplyFunction = `fn multiplyMatrices(left: ptr<function, Left>, right: ptr<function, Right>, sum: ptr<function, Result>) {
  for (var j = 0u; j < SIXTEEN / 2u; j++) {
    let e = emulatedLane + 32u * j;
    for (var k = 0u; k < SIXTEEN / 4u; k++) {
      (*sum)[j] += dot(vec4<f32>((*left)[e / 16u * 4u + k]), vec4<f32>((*right)[e % 16u * 4u + k]));
    }
  }
}`
