import type { DatasetName } from './names.ts'

/** A file of a data set at its official address, with its size in bytes. */
export interface RemoteFile {
  url: string
  bytes: number
  sha256: string
}

const mnist = 'https://ossci-datasets.s3.amazonaws.com/mnist'
// This is the publisher's own repository, since the publisher's other address has no https.
const fashion = 'https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion'
const cifar = 'https://www.cs.toronto.edu/~kriz'

/** The files of each data set. Their publishers give only MD5; the SHA-256 are those with which many programs check the same files. */
export const REMOTE_FILES: Record<DatasetName, RemoteFile[]> = {
  mnist: [
    {
      url: `${mnist}/train-images-idx3-ubyte.gz`,
      bytes: 9_912_422,
      sha256: '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609',
    },
    {
      url: `${mnist}/train-labels-idx1-ubyte.gz`,
      bytes: 28_881,
      sha256: '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c',
    },
    {
      url: `${mnist}/t10k-images-idx3-ubyte.gz`,
      bytes: 1_648_877,
      sha256: '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6',
    },
    {
      url: `${mnist}/t10k-labels-idx1-ubyte.gz`,
      bytes: 4_542,
      sha256: 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6',
    },
  ],
  'fashion-mnist': [
    {
      url: `${fashion}/train-images-idx3-ubyte.gz`,
      bytes: 26_421_880,
      sha256: '3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84',
    },
    {
      url: `${fashion}/train-labels-idx1-ubyte.gz`,
      bytes: 29_515,
      sha256: 'a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845',
    },
    {
      url: `${fashion}/t10k-images-idx3-ubyte.gz`,
      bytes: 4_422_102,
      sha256: '346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073',
    },
    {
      url: `${fashion}/t10k-labels-idx1-ubyte.gz`,
      bytes: 5_148,
      sha256: '67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5',
    },
  ],
  'cifar-10': [
    {
      url: `${cifar}/cifar-10-binary.tar.gz`,
      bytes: 170_052_171,
      sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
    },
  ],
  'cifar-100': [
    {
      url: `${cifar}/cifar-100-binary.tar.gz`,
      bytes: 168_513_733,
      sha256: '58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec',
    },
  ],
}
