"""Golden values for the engine, the models and the training loop, computed by PyTorch in float64 on the CPU.

Run:       python3 test/golden/generate.py [output folder]      (default: the folder of this file; a few seconds)
Needs:     torch and numpy. The stored files were made with Python 3.11, PyTorch 1.13.0, NumPy 1.24.2.
Repeats:   fixed seeds, one thread: the same machine and versions give the same bytes. Another processor or version may
           change the last bits of a float64 (never a name, a shape, an input or a label).

Every input and every initial parameter is a float32 value (drawn in float64, rounded, then used in float64), so an engine
that works in float32 starts from exactly the numbers the reference started from. Results are float64 (F64). The one
exception are gradients of model parameters (`*.grad.*` in the model files): float64 results rounded once to F32, which
halves the files. Integers are I32. A loss is a scalar: shape [].

Model files  {paraformer,vit}-{paper,preNorm}-{cls,mean}.safetensors
    __metadata__.config             the model config as JSON
    params.{name}                   F32 parameters under their checkpoint names
    images, labels                  F32 [B, C, H, W], I32 [B]
    prefix{k}.logits                F64 [B, classes], k = 1..branches (ViT: k = 1 is the whole model)
    prefix{k}.features              F64 [B, D], the pooled sum of branches 1..k, before the head and its LayerNorm
    prefix{k}.loss                  F64 [], mean cross-entropy over the batch
    prefix{k}.grad.{name}           F32, gradient of prefix{k}.loss; branches after k are not reached and have no entry
    prefixSum.loss, prefixSum.grad.{name}   (paraformer) the same for sum over k of prefix{k}.loss, every weight 1

Training files  training-{joint,prefixSum,paper}.safetensors
    __metadata__.config, .training  model config and hyperparameters as JSON
    params.{name}, final.{name}     F32 before the first step, F64 after the last
    images, labels                  F32 [10, B, C, H, W], I32 [10, B]: one mini-batch a step
    losses, gradNorms               joint: F64 [10]; prefixSum: losses [10, branches] (each prefix), gradNorms [10]
    passA, passB                    paper: F64 [10, branches] and [10], with passA.gradNorms and passB.gradNorms
    A loss is the one before its step; a gradient norm is the one before clipping.
    joint       step on the loss of the full sum.
    prefixSum   step on the sum of all prefix losses, every weight 1.
    paper       pass A over the ten mini-batches: for k = 1..branches one clipped step on the loss of prefix k, on the same
                mini-batch; then pass B over the same ten in the same order: one step on the full sum, not clipped. One
                optimizer throughout. Branches after k have no gradient in a step of prefix k, so that step leaves them
                alone: no moment update, no decay, and their own step count (bias correction) does not advance.
    Clipping: all gradients times min(1, maxNorm / (norm + 1e-6)), norm over all the parameters that have a gradient.
    AdamW, t the parameter's own step count:  p *= 1 - lr decay;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
        p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).
    Decay 0.05 for tensors of two or more dims except clsToken and posEmbedding; 0 for those and for vectors.

ops.safetensors, functions.safetensors  {op}.{case}.{tensor}
    Inputs under their own names, `output` the result, `cotangent` what was back-propagated, `grad.{input}` the gradients.
    __metadata__.cases              JSON: {op}.{case} -> the arguments that are not tensors
"""

import json
import math
import os
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

BATCH = 3
STEPS = 10
TRAINING = dict(optimizer='AdamW', lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weightDecay=0.05,
                noDecay=['clsToken', 'posEmbedding', 'tensors of one dim'], maxNorm=1.0, batch=BATCH, steps=STEPS)

DTYPES = {'float64': ('F64', '<f8'), 'float32': ('F32', '<f4'), 'int32': ('I32', '<i4')}


def saveSafetensors(path, tensors, metadata):
    """8-byte little-endian header length, JSON header padded to a multiple of 8, data; the wide dtype first: aligned."""
    arrays = {}
    for name, value in tensors.items():
        value = value.detach().numpy() if torch.is_tensor(value) else np.asarray(value)
        if value.dtype == np.int64:
            value = value.astype(np.int32)
        assert np.isfinite(value).all(), name
        arrays[name] = value
    header, chunks, offset = {'__metadata__': metadata}, [], 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):
        kind, layout = DTYPES[arrays[name].dtype.name]
        data = np.ascontiguousarray(arrays[name]).astype(layout).tobytes()
        header[name] = {'dtype': kind, 'shape': list(arrays[name].shape), 'data_offsets': [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + b''.join(chunks))
    print(f'{os.path.basename(path):40s} {os.path.getsize(path):9d} bytes {len(arrays):4d} tensors')


def rounded(array):
    """float64 tensor of float32 values."""
    return torch.from_numpy(np.asarray(array, dtype=np.float64).astype(np.float32).astype(np.float64))


def single(value):
    return value.detach().numpy().astype(np.float32)


def exact(value):
    """F32 for a tensor that holds only float32 values."""
    narrow = single(value)
    assert (narrow.astype(np.float64) == value.detach().numpy()).all()
    return narrow


# Models

def makeConfig(architecture, residual, pool):
    shape = dict(branches=3, branchDepth=2) if architecture == 'paraformer' else dict(depth=3)
    return dict(architecture=architecture, imageSize=22, patchSize=11, channels=3, dim=37, heads=5, dimHead=7, mlpDim=53,
                **shape, classes=7, residual=residual, pool=pool, dropout=0)


def branchShape(config):
    return (config['branches'], config['branchDepth']) if config['architecture'] == 'paraformer' else (1, config['depth'])


def makeParameters(config, random):
    D, inner, mlp = config['dim'], config['heads'] * config['dimHead'], config['mlpDim']
    patchDim, tokens = config['channels'] * config['patchSize'] ** 2, (config['imageSize'] // config['patchSize']) ** 2
    parameters = {}

    def add(name, *shape, scale=1.0, shift=0.0):
        parameters[name] = rounded(shift + scale * random.standard_normal(shape)).requires_grad_()

    def linear(name, inputs, outputs, bias=True):
        add(f'{name}.weight', outputs, inputs, scale=1.2 / math.sqrt(inputs))
        if bias:
            add(f'{name}.bias', outputs, scale=0.3)

    def norm(name):
        add(f'{name}.weight', D, scale=0.3, shift=1.0)
        add(f'{name}.bias', D, scale=0.3)

    linear('embed', patchDim, D)
    add('clsToken', 1, 1, D)
    add('posEmbedding', 1, tokens + 1, D)
    branches, depth = branchShape(config)
    for i in range(branches):
        for l in range(depth):
            layer = f'branches.{i}.layers.{l}'
            norm(f'{layer}.norm1')
            linear(f'{layer}.attention.qkv', D, 3 * inner, bias=False)
            linear(f'{layer}.attention.out', inner, D)
            norm(f'{layer}.norm2')
            linear(f'{layer}.mlp.fc1', D, mlp)
            linear(f'{layer}.mlp.fc2', mlp, D)
    norm('head.norm')
    linear('head.linear', D, config['classes'])
    return parameters


def linear(p, name, x):
    return F.linear(x, p[f'{name}.weight'], p.get(f'{name}.bias'))


def layerNorm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[f'{name}.weight'], p[f'{name}.bias'], 1e-5)


def patches(images, size):
    """[B, C, H, W] -> [B, T, size * size * C]: patches row by row; inside a patch (row, column, channel)."""
    B, C, H, W = images.shape
    grid = images.reshape(B, C, H // size, size, W // size, size)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(B, (H // size) * (W // size), size * size * C)


def attention(config, p, name, x):
    B, T, _ = x.shape
    heads, dimHead = config['heads'], config['dimHead']
    # Rows of the weight: q, k, v blocks; in a block (head, position in head).
    q, k, v = linear(p, f'{name}.qkv', x).reshape(B, T, 3, heads, dimHead).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.transpose(-1, -2) * dimHead ** -0.5, dim=-1)
    return linear(p, f'{name}.out', (weights @ v).permute(0, 2, 1, 3).reshape(B, T, heads * dimHead))


def layer(config, p, name, x):
    def mlp(u):
        return linear(p, f'{name}.mlp.fc2', F.gelu(linear(p, f'{name}.mlp.fc1', u)))

    u = layerNorm(p, f'{name}.norm1', x)
    y = attention(config, p, f'{name}.attention', u) + (u if config['residual'] == 'paper' else x)
    v = layerNorm(p, f'{name}.norm2', y)
    return mlp(v) + (v if config['residual'] == 'paper' else y)


def forward(config, p, images, k):
    """Logits and features of prefix k."""
    x = linear(p, 'embed', patches(images, config['patchSize']))
    x = torch.cat([p['clsToken'].expand(len(x), 1, -1), x], dim=1) + p['posEmbedding']
    total = 0
    for i in range(k):
        z = x
        for l in range(branchShape(config)[1]):
            z = layer(config, p, f'branches.{i}.layers.{l}', z)
        total = total + z
    features = total[:, 0] if config['pool'] == 'cls' else total.mean(dim=1)
    return linear(p, 'head.linear', layerNorm(p, 'head.norm', features)), features


def gradients(loss, parameters):
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {name: gradient for name, gradient in zip(parameters, found) if gradient is not None}


def makeBatch(config, random, *lead):
    size = config['imageSize']
    images = rounded(random.standard_normal((*lead, BATCH, config['channels'], size, size)))
    labels = torch.from_numpy(random.randint(0, config['classes'], (*lead, BATCH)).astype(np.int64))
    return images, labels


def modelFile(folder, config, seed):
    random = np.random.RandomState(seed)
    p = makeParameters(config, random)
    images, labels = makeBatch(config, random)
    out = {'images': exact(images), 'labels': labels, **{f'params.{name}': exact(value) for name, value in p.items()}}
    losses = []
    for k in range(1, branchShape(config)[0] + 1):
        logits, features = forward(config, p, images, k)
        losses.append(F.cross_entropy(logits, labels))
        out.update({f'prefix{k}.logits': logits, f'prefix{k}.features': features, f'prefix{k}.loss': losses[-1]})
        out.update({f'prefix{k}.grad.{name}': single(value) for name, value in gradients(losses[-1], p).items()})
    if config['architecture'] == 'paraformer':
        out['prefixSum.loss'] = sum(losses)
        out.update({f'prefixSum.grad.{name}': single(value) for name, value in gradients(sum(losses), p).items()})
    name = f"{config['architecture']}-{config['residual']}-{config['pool']}.safetensors"
    saveSafetensors(os.path.join(folder, name), out, {'config': json.dumps(config)})


# Training

def decays(name, value):
    return value.dim() >= 2 and name not in ('clsToken', 'posEmbedding')


def trainingFile(folder, scheme, seed):
    config = makeConfig('paraformer', 'preNorm', 'cls')
    random = np.random.RandomState(seed)
    p = makeParameters(config, random)
    images, labels = makeBatch(config, random, STEPS)
    m = config['branches']
    out = {'images': exact(images), 'labels': labels, **{f'params.{name}': exact(value) for name, value in p.items()}}
    optimizer = torch.optim.AdamW(
        [{'params': [v for n, v in p.items() if decays(n, v)], 'weight_decay': TRAINING['weightDecay']},
         {'params': [v for n, v in p.items() if not decays(n, v)], 'weight_decay': 0.0}],
        lr=TRAINING['lr'], betas=TRAINING['betas'], eps=TRAINING['eps'])

    def loss(step, k):
        return F.cross_entropy(forward(config, p, images[step], k)[0], labels[step])

    def update(objective, clip=True):
        optimizer.zero_grad(set_to_none=True)
        objective.backward()
        limit = TRAINING['maxNorm'] if clip else math.inf
        norm = torch.nn.utils.clip_grad_norm_([v for v in p.values() if v.grad is not None], limit)
        optimizer.step()
        return norm.item()

    if scheme == 'joint':
        losses, norms = [], []
        for step in range(STEPS):
            objective = loss(step, m)
            losses.append(objective.item())
            norms.append(update(objective))
        out.update({'losses': np.array(losses), 'gradNorms': np.array(norms)})
    elif scheme == 'prefixSum':
        losses, norms = [], []
        for step in range(STEPS):
            terms = [loss(step, k) for k in range(1, m + 1)]
            losses.append([term.item() for term in terms])
            norms.append(update(sum(terms)))
        out.update({'losses': np.array(losses), 'gradNorms': np.array(norms)})
    else:
        passA, passANorms, passB, passBNorms = [], [], [], []
        for step in range(STEPS):
            losses, norms = [], []
            for k in range(1, m + 1):
                objective = loss(step, k)
                losses.append(objective.item())
                norms.append(update(objective))
            passA.append(losses)
            passANorms.append(norms)
        for step in range(STEPS):
            objective = loss(step, m)
            passB.append(objective.item())
            passBNorms.append(update(objective, clip=False))
        out.update({'passA': np.array(passA), 'passA.gradNorms': np.array(passANorms),
                    'passB': np.array(passB), 'passB.gradNorms': np.array(passBNorms)})
    out.update({f'final.{name}': value for name, value in p.items()})
    training = dict(scheme=scheme, **TRAINING, prefixWeights=[1] * m)
    saveSafetensors(os.path.join(folder, f'training-{scheme}.safetensors'), out,
                    {'config': json.dumps(config), 'training': json.dumps(training)})


# Ops

def opsFile(folder, seed):
    random = np.random.RandomState(seed)
    out, cases = {}, {}

    def draw(*shape):
        return random.standard_normal(shape)

    def case(name, f, inputs, **arguments):
        """f(inputs) -> result; inputs of integers get no gradient."""
        cases[name] = arguments
        leaves = {key: rounded(value).requires_grad_() if np.asarray(value).dtype.kind == 'f' else torch.as_tensor(value)
                  for key, value in inputs.items()}
        result = f(**leaves)
        for key, value in leaves.items():
            out[f'{name}.{key}'] = exact(value) if value.is_floating_point() else value
        out[f'{name}.output'] = result
        if result.dim():
            cotangent = rounded(draw(*result.shape))
            out[f'{name}.cotangent'] = exact(cotangent)
        else:
            cotangent = torch.ones((), dtype=torch.float64)
        floats = [key for key, value in leaves.items() if value.is_floating_point()]
        found = torch.autograd.grad(result, [leaves[key] for key in floats], cotangent)
        out.update({f'{name}.grad.{key}': value for key, value in zip(floats, found)})

    # The erf form; the tanh approximation differs by up to 5e-4. Far left tail included, and 0 and -0.
    case('gelu.erf', lambda x: F.gelu(x), {'x': np.concatenate([np.linspace(-6, 6, 97), [-0.0, 1e-4, -1e-4]])})

    def norm(x, weight, bias):
        return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)

    affine = lambda: {'weight': 1 + 0.3 * draw(37), 'bias': 0.3 * draw(37)}
    case('layerNorm.largeMean', norm, {'x': 1000 + draw(9, 37), **affine()}, eps=1e-5)
    case('layerNorm.smallVariance', norm, {'x': 3e-3 * draw(9, 37), **affine()}, eps=1e-5)
    case('layerNorm.constantRow', norm, {'x': np.repeat([[0.0], [1.0], [-4.0]], 37, axis=1), **affine()}, eps=1e-5)

    rows = 1e4 * random.uniform(-1, 1, (8, 11))
    rows[0] = 0.75                                      # all equal, and equal at both ends
    rows[1], rows[2] = 1e4, -1e4
    rows[3], rows[3, 4] = -1e4, 1e4                     # one winner by 2e4
    rows[4], rows[4, 2:4] = -1e4, 1e4                   # two winners
    rows[5], rows[6] = 1e4 + 2 * draw(11), draw(11)     # ordinary differences, far from 0 and near it
    case('softmax.large', lambda x: torch.softmax(x, -1), {'x': rows}, dim=-1)
    case('logSoftmax.large', lambda x: torch.log_softmax(x, -1), {'x': rows}, dim=-1)
    middle = 2 * draw(3, 5, 4)
    case('softmax.middle', lambda x: torch.softmax(x, 1), {'x': middle}, dim=1)
    case('logSoftmax.middle', lambda x: torch.log_softmax(x, 1), {'x': middle}, dim=1)

    def sdpa(q, k, v):
        return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1) @ v

    q, k, v = draw(2, 3, 33, 7), draw(2, 3, 33, 7), draw(2, 3, 33, 7)
    peak = np.abs(q @ np.swapaxes(k, -1, -2)).max() * 7 ** -0.5
    spread = math.sqrt(100 / peak)
    case('scaledDotProductAttention.large', sdpa, {'q': spread * q, 'k': spread * k, 'v': v}, maxScore=100)
    case('scaledDotProductAttention.ordinary', sdpa, {'q': draw(2, 3, 33, 7), 'k': draw(2, 3, 33, 7), 'v': draw(2, 3, 33, 7)})
    case('scaledDotProductAttention.oneQuery', sdpa, {'q': draw(2, 3, 1, 7), 'k': draw(2, 3, 33, 7), 'v': draw(2, 3, 33, 7)})

    case('crossEntropy.mean', F.cross_entropy, {'input': 2 * draw(6, 10), 'target': np.array([3, 0, 9, 9, 1, 3])})
    large = 1e4 * random.uniform(-1, 1, (4, 5))
    large[0], large[1] = 0, [1e4, -1e4, -1e4, -1e4, -1e4]
    case('crossEntropy.large', F.cross_entropy, {'input': large, 'target': np.array([2, 1, int(large[2].argmax()), 0])})

    case('cumsum.middle', lambda x: torch.cumsum(x, 1), {'x': draw(3, 5, 4)}, dim=1)

    # Rows 2 and 5 are used several times, 1 and 4 never.
    case('embedding.repeated', lambda weight, indices: F.embedding(indices, weight),
         {'weight': draw(6, 4), 'indices': np.array([[2, 0, 2, 5, 3], [5, 2, 2, 0, 5]])})

    # Ties: the value once, its first index, and the whole gradient to that index.
    ties = np.array([[1, 3, 3, 2, 3], [0, 0, 0, 0, 0], [-1, -2, -1, -3, -2], [5, 1, 2, 5, 4], [1, 3, 2, 5, 5.]])
    for name, dim in (('rows', 1), ('columns', 0)):
        indices = torch.max(torch.from_numpy(ties), dim).indices
        assert (indices.numpy() == ties.argmax(dim)).all()  # NumPy documents the first one
        case(f'max.{name}', lambda x: torch.max(x, dim).values, {'x': ties}, dim=dim)
        out[f'max.{name}.indices'] = indices

    for name, f in (('add', torch.add), ('sub', torch.sub), ('mul', torch.mul), ('div', torch.div)):
        divisor = draw(4, 1)
        case(f'{name}.broadcast', lambda a, b: f(a, b),
             {'a': draw(3, 1, 5), 'b': np.sign(divisor) * (0.5 + np.abs(divisor))})

    # AdamW: steps above and below the clipping norm; an element without gradient (decay only) and one where eps counts.
    steps, scales = 5, [1.0, 0.05, 3.0, 0.2, 0.5]
    given = np.array(scales)[:, None] * draw(steps, 13)
    given[:, 4], given[:, 9] = 0, 1e-9 * draw(steps)
    given = rounded(given)
    parameter = rounded(draw(13)).requires_grad_()
    arguments = dict(lr=1e-2, betas=[0.9, 0.999], eps=1e-8, weightDecay=0.05, maxNorm=1.0)
    cases['adamW.clipped'] = arguments
    out.update({'adamW.clipped.parameter': exact(parameter), 'adamW.clipped.gradients': exact(given)})
    optimizer = torch.optim.AdamW([parameter], lr=arguments['lr'], betas=arguments['betas'], eps=arguments['eps'],
                                  weight_decay=arguments['weightDecay'])
    history = {'output': [], 'm': [], 'v': [], 'gradNorms': []}
    for gradient in given:
        parameter.grad = gradient.clone()
        history['gradNorms'].append(torch.nn.utils.clip_grad_norm_([parameter], arguments['maxNorm']))
        optimizer.step()
        history['output'].append(parameter.detach().clone())
        history['m'].append(optimizer.state[parameter]['exp_avg'].clone())
        history['v'].append(optimizer.state[parameter]['exp_avg_sq'].clone())
    norms = [float(norm) for norm in history['gradNorms']]
    assert min(norms) < arguments['maxNorm'] < max(norms)
    out.update({f'adamW.clipped.{key}': torch.stack(value) for key, value in history.items()})

    # Rows with no zero, one, and two; a row and a column of zeros have norm and deviation 0.
    factors = draw(4, 5)
    factors[1, 2] = factors[2, 0] = factors[2, 4] = 0
    case('prod.zeros', lambda x: torch.prod(x, 1), {'x': factors}, dim=1)
    vectors = draw(3, 4, 5)
    vectors[1], vectors[:, 2] = 0, 0
    case('norm.zeros', lambda x: torch.linalg.vector_norm(x, dim=(0, 2)), {'x': vectors}, dim=[0, 2])
    case('std.zeros', lambda x: torch.std(x, dim=2, unbiased=True), {'x': vectors}, dim=2)
    far = 1000 + draw(3, 4, 5)
    case('variance.far', lambda x: torch.var(x, dim=(0, 2), unbiased=True), {'x': far}, dim=[0, 2])
    case('variance.population', lambda x: torch.var(x, dim=1, unbiased=False), {'x': far}, dim=1, correction=0)
    case('logsumexp.large', lambda x: torch.logsumexp(x, (0, 2)), {'x': 1e3 * draw(3, 4, 5)}, dim=[0, 2])
    case('cumprod.zeros', lambda x: torch.cumprod(x, 1), {'x': factors}, dim=1)
    case('min.rows', lambda x: torch.min(x, 1).values, {'x': -ties}, dim=1)

    saveSafetensors(os.path.join(folder, 'ops.safetensors'), out, {'cases': json.dumps(cases)})


# Functions of elements

def functionsFile(folder, seed):
    random = np.random.RandomState(seed)
    out = {}

    def case(name, f, **inputs):
        """f(inputs) -> result, with gradients for a random cotangent."""
        leaves = {key: rounded(value).requires_grad_() for key, value in inputs.items()}
        result = f(*leaves.values())
        cotangent = rounded(random.standard_normal(result.shape))
        found = torch.autograd.grad(result, list(leaves.values()), cotangent)
        out.update({f'{name}.{key}': exact(value) for key, value in leaves.items()})
        out.update({f'{name}.output': result, f'{name}.cotangent': exact(cotangent)})
        out.update({f'{name}.grad.{key}': value for key, value in zip(leaves, found)})

    # Halves and 0 included; 7 x 9 numbers, none of which repeats in a row.
    steps = np.linspace(-7.75, 7.75, 63).reshape(9, 7).T
    positive = np.linspace(0.05, 6.25, 63).reshape(9, 7).T
    angles = np.concatenate([np.linspace(-10, 10, 31), 1e3 * np.linspace(-1, 1, 11), 1e5 * np.linspace(-1, 1, 21)]).reshape(9, 7).T
    named = dict(abs=steps, sign=steps, floor=steps, ceil=steps, round=steps, trunc=steps, square=steps, reciprocal=positive,
                 rsqrt=positive, sin=angles, cos=angles, exp2=steps, log2=positive, log1p=positive - 0.9, expm1=steps, erf=steps / 2)
    for name, x in named.items():
        case(f'{name}.plain', getattr(torch, name), x=x)
    case('log1p.small', torch.log1p, x=steps * 1e-6)
    case('expm1.small', torch.expm1, x=steps * 1e-6)
    case('silu.plain', F.silu, x=steps)
    # PyTorch leaves the logarithm out above its threshold.
    case('softplus.plain', lambda x: F.softplus(x, threshold=1e9), x=4 * steps)
    case('leakyRelu.plain', lambda x: F.leaky_relu(x, 0.2), x=steps)
    case('gelu.tanh', lambda x: F.gelu(x, approximate='tanh'), x=steps)
    # The limits are among the numbers.
    case('clamp.both', lambda x: torch.clamp(x, -2.25, 3.5), x=steps)
    case('clamp.min', lambda x: torch.clamp(x, min=0.5), x=steps)
    case('clamp.max', lambda x: torch.clamp(x, max=0.5), x=steps)

    few = lambda *shape: random.randint(-2, 3, shape).astype(np.float64)
    case('minimum.ties', torch.minimum, a=few(3, 1, 5), b=few(4, 1))
    case('maximum.ties', torch.maximum, a=few(3, 1, 5), b=few(4, 1))
    case('atan2.broadcast', torch.atan2, a=random.standard_normal((3, 1, 5)), b=random.standard_normal((4, 1)))
    case('remainder.broadcast', torch.remainder, a=10 * random.standard_normal((3, 1, 5)), b=random.standard_normal((4, 1)))
    case('lerp.broadcast', lambda x, u, weight: torch.lerp(x, u, weight), x=random.standard_normal((3, 4, 5)),
         u=random.standard_normal((3, 4, 5)), weight=random.standard_normal((3, 4, 5)))

    saveSafetensors(os.path.join(folder, 'functions.safetensors'), out, {})


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    seed = 1
    for architecture in ('paraformer', 'vit'):
        for residual in ('paper', 'preNorm'):
            for pool in ('cls', 'mean'):
                modelFile(folder, makeConfig(architecture, residual, pool), seed)
                seed += 1
    for scheme in ('joint', 'prefixSum', 'paper'):
        trainingFile(folder, scheme, 100)
    opsFile(folder, 200)
    functionsFile(folder, 400)


if __name__ == '__main__':
    main()
