/** The expansion was asked to stop. */
export class ExpansionStoppedError extends Error {
  override readonly name = 'ExpansionStoppedError'
}
