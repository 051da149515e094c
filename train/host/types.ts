import type { loadDataset } from '../data/datasets.ts'
import type { openData } from '../run/data.ts'

/** What the entry of the package takes from files, which only some hosts have. */
export interface Host {
  loadDataset: typeof loadDataset
  openData: typeof openData
}
