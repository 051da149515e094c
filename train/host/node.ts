export { loadDataset } from '../data/datasets.ts'
export { openData } from '../run/data.ts'
