/** Says how many there are: `1 image`, `6,000 images`. @param plural default the singular with an s */
export function counted(count: number, singular: string, plural = `${singular}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? singular : plural}`
}

/** Writes a share in percent. @param digits digits behind the point */
export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)} %`
}
