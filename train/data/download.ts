import { createHash } from 'node:crypto'
import { basename, join } from 'node:path'
import { files } from '#platform'
import { reason, UserError } from '../../engine/errors.ts'
import type { DatasetName } from './names.ts'

/** A file of a data set at its official address; the checksums are those that its publishers give. */
export interface RemoteFile {
  url: string
  md5: string
}

const mnist = 'https://ossci-datasets.s3.amazonaws.com/mnist'
const fashion = 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com'

export const REMOTE_FILES: Record<DatasetName, RemoteFile[]> = {
  mnist: [
    { url: `${mnist}/train-images-idx3-ubyte.gz`, md5: 'f68b3c2dcbeaaa9fbdd348bbdeb94873' },
    { url: `${mnist}/train-labels-idx1-ubyte.gz`, md5: 'd53e105ee54ea40749a09fcbcd1e9432' },
    { url: `${mnist}/t10k-images-idx3-ubyte.gz`, md5: '9fb629c4189551a2d022fa330f9573f3' },
    { url: `${mnist}/t10k-labels-idx1-ubyte.gz`, md5: 'ec29112dd5afa0611ce80d1b7f02629c' },
  ],
  'fashion-mnist': [
    { url: `${fashion}/train-images-idx3-ubyte.gz`, md5: '8d4fb7e6c68d591d4c3dfef9ec88bf0d' },
    { url: `${fashion}/train-labels-idx1-ubyte.gz`, md5: '25c81989df183df01b3e8a0aad5dffbe' },
    { url: `${fashion}/t10k-images-idx3-ubyte.gz`, md5: 'bef4ecab320f06d8554ea6380940ec79' },
    { url: `${fashion}/t10k-labels-idx1-ubyte.gz`, md5: 'bb300cfdad3c16e7a12a480ee83cd310' },
  ],
  'cifar-10': [{ url: 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz', md5: 'c32a1d4ab5d03f1284b67883e8d87530' }],
  'cifar-100': [{ url: 'https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz', md5: '03b5dce01913d631647c71ecec9e9cb8' }],
}

/**
 * Fetches one file into a folder under its own name; it appears there whole and with the right checksum, or not at all.
 * @returns the path
 * @throws UserError when the network, the checksum or the folder fails
 */
export async function downloadFile({ url, md5 }: RemoteFile, folder: string): Promise<string> {
  let bytes: Uint8Array
  try {
    const response = await fetch(url)
    if (!response.ok) throw new Error(`HTTP ${response.status}`)
    bytes = new Uint8Array(await response.arrayBuffer())
  } catch (error) {
    const cause = error instanceof Error && error.cause ? `, ${reason(error.cause)}` : ''
    throw new UserError(`${url}: download failed (${reason(error)}${cause}); fetch it by hand into ${folder}`)
  }
  const found = createHash('md5').update(bytes).digest('hex')
  if (found !== md5) throw new UserError(`${url}: checksum is ${found}, expected ${md5}; nothing was kept, try again`)
  const path = join(folder, basename(new URL(url).pathname))
  await files.write(path, bytes)
  return path
}
