import type { loadDataset } from '../data/datasets.ts'
import type { openData } from '../run/data.ts'

/** Functions of the package that read files, which only some hosts have. */
export interface Host {
  loadDataset: typeof loadDataset
  openData: typeof openData
}
