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

ops.safetensors, functions.safetensors, networks.safetensors, attention.safetensors  {op}.{case}.{tensor}
    Inputs under their own names, `output` the result, `cotangent` what was back-propagated, `grad.{input}` the gradients.
    __metadata__.cases              JSON: {op}.{case} -> the arguments that are not tensors

optimizers.safetensors  sgd.{case}.{tensor}
    parameter{i} [n] and gradients{i} [20, n] of two parameters, and output{i} [20, n], the parameter after each step of torch.optim.SGD.
    __metadata__.cases              JSON: options, the first group's learning rates by step, and those of the second group
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


def optimizersFile(folder, seed):
    rng = np.random.default_rng(seed)
    out, cases = {}, {}
    configs = {
        'plain': {}, 'decay': dict(weightDecay=0.1), 'momentum': dict(momentum=0.9, weightDecay=0.1),
        'dampening': dict(momentum=0.8, dampening=0.3, weightDecay=0.1),
        'nesterov': dict(momentum=0.9, nesterov=True, weightDecay=0.1),
    }
    steps, sizes = 20, (7, 66)
    for name, options in configs.items():
        parameters = [rounded(rng.standard_normal(size)).requires_grad_() for size in sizes]
        given = [rounded(rng.standard_normal((steps, size))) for size in sizes]
        lrs = [0.05 * (1 + step % 3) for step in range(steps)]
        cases[f'sgd.{name}'] = dict(options, lrs=lrs, groupLr=0.02, groupDecay=0.01, maxNorm=9.0)
        for i, parameter in enumerate(parameters):
            out.update({f'sgd.{name}.parameter{i}': exact(parameter), f'sgd.{name}.gradients{i}': exact(given[i])})
        shared = {{'weightDecay': 'weight_decay'}.get(key, key): value for key, value in options.items()}
        optimizer = torch.optim.SGD([{'params': parameters[:1]},
                                     {'params': parameters[1:], 'lr': 0.02, 'weight_decay': 0.01}], lr=0.1, **shared)
        history = [[], []]
        for step in range(steps):
            optimizer.param_groups[0]['lr'] = lrs[step]
            for parameter, gradients in zip(parameters, given):
                parameter.grad = gradients[step].clone()
            torch.nn.utils.clip_grad_norm_(parameters, 9.0)
            optimizer.step()
            for parameter, values in zip(parameters, history):
                values.append(parameter.detach().clone())
        for i, values in enumerate(history):
            out[f'sgd.{name}.output{i}'] = torch.stack(values)
    saveSafetensors(os.path.join(folder, 'optimizers.safetensors'), out, {'cases': json.dumps(cases)})


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


# Networks

def networksFile(folder, seed):
    random = np.random.RandomState(seed)
    out, cases = {}, {}

    def draw(*shape):
        return random.standard_normal(shape)

    def case(name, f, inputs, **arguments):
        """As that of opsFile."""
        cases[name] = arguments
        leaves = {key: rounded(value).requires_grad_() if np.asarray(value).dtype.kind == 'f' else torch.as_tensor(value)
                  for key, value in inputs.items()}
        result = f(**leaves)
        for key, value in leaves.items():
            out[f'{name}.{key}'] = exact(value) if value.is_floating_point() else value
        out[f'{name}.output'] = result
        cotangent = rounded(draw(*result.shape))
        out[f'{name}.cotangent'] = exact(cotangent)
        floats = [key for key, value in leaves.items() if value.is_floating_point()]
        found = torch.autograd.grad(result, [leaves[key] for key in floats], cotangent)
        out.update({f'{name}.grad.{key}': value for key, value in zip(floats, found)})

    def conv(name, x, weight, **arguments):
        case(f'conv2d.{name}', lambda x, weight, bias: F.conv2d(x, weight, bias, **arguments),
             {'x': draw(*x), 'weight': draw(*weight), 'bias': draw(weight[0])}, **arguments)

    conv('plain', (2, 3, 6, 5), (4, 3, 3, 3))
    conv('padded', (2, 5, 7, 6), (9, 5, 3, 3), padding=1)
    conv('strided', (3, 4, 9, 8), (5, 4, 3, 3), padding=1, stride=2)
    conv('pointwise', (2, 6, 5, 7), (7, 6, 1, 1))
    conv('pointwiseStrided', (2, 6, 5, 7), (7, 6, 1, 1), stride=2)
    conv('patches', (2, 3, 8, 8), (6, 3, 4, 4), stride=4)
    conv('uneven', (2, 3, 10, 11), (4, 3, 2, 5), stride=(3, 2), padding=(1, 3), dilation=(2, 1))
    conv('dilated', (1, 2, 9, 9), (3, 2, 3, 3), padding=2, dilation=3)
    conv('dilatedStrided', (2, 2, 9, 10), (3, 2, 3, 3), padding=3, dilation=2, stride=2)
    conv('grouped', (2, 6, 5, 6), (9, 2, 3, 3), padding=1, groups=3)
    conv('depthwise', (2, 5, 7, 7), (5, 1, 3, 3), padding=1, groups=5, stride=2)
    conv('multiplied', (2, 3, 6, 6), (6, 1, 3, 3), padding=1, groups=3)

    pools = dict(halved=dict(kernel_size=2), padded=dict(kernel_size=3, stride=1, padding=1),
                 uneven=dict(kernel_size=(3, 2), stride=(2, 3), padding=(1, 0)))
    for name, arguments in pools.items():
        for op, f in (('maxPool2d', F.max_pool2d), ('avgPool2d', F.avg_pool2d)):
            case(f'{op}.{name}', lambda x: f(x, **arguments), {'x': draw(2, 3, 7, 8)}, **arguments)
    case('maxPool2d.ties', lambda x: F.max_pool2d(x, 3, 1), {'x': np.round(draw(1, 2, 6, 7))})

    def channels(count):
        return {'weight': 1 + 0.3 * draw(count), 'bias': 0.3 * draw(count)}

    for name, groups, shape in (('images', 2, (3, 6, 5, 4)), ('vectors', 3, (2, 6)), ('instances', 4, (2, 4, 7))):
        case(f'groupNorm.{name}', lambda x, weight, bias: F.group_norm(x, groups, weight, bias, 1e-2),
             {'x': 3 + draw(*shape), **channels(shape[1])}, groups=groups)
    for name, shape in (('images', (3, 5, 4, 6)), ('vectors', (7, 5))):
        moved = rounded(draw(5)), rounded(1 + draw(5) ** 2)
        for mode, training in (('training', True), ('evaluation', False)):
            before = [value.clone() for value in moved]
            statistics = [value.clone() for value in moved]
            case(f'batchNorm.{name}.{mode}',
                 lambda x, weight, bias: F.batch_norm(x, *statistics, weight, bias, training, 0.3, 1e-2),
                 {'x': 3 + draw(*shape), **channels(5)})
            for key, value in zip(('runningMean', 'runningVariance'), before):
                out[f'batchNorm.{name}.{mode}.{key}'] = exact(value)
            for key, value in zip(('movedMean', 'movedVariance'), statistics):
                out[f'batchNorm.{name}.{mode}.{key}'] = value

    for reduction in ('mean', 'sum', 'none', 'batchmean'):
        if reduction != 'batchmean':
            case(f'mseLoss.{reduction}', lambda x, targets: F.mse_loss(x, targets, reduction=reduction),
                 {'x': draw(3, 5), 'targets': draw(3, 5)})
            case(f'bceWithLogits.{reduction}',
                 lambda x, targets: F.binary_cross_entropy_with_logits(x, targets, reduction=reduction),
                 {'x': 10 * draw(3, 5), 'targets': random.uniform(0, 1, (3, 5))})
            for name, smoothing, ignored in (('smooth', 0.2, -100), ('ignored', 0.0, 1), ('both', 0.1, 9)):
                labels = np.array([3, 1, 0, 9, 1, 3] if ignored == 9 else [3, 1, 0, 4, 1, 3])
                case(f'crossEntropy.{name}.{reduction}',
                     lambda x, labels: F.cross_entropy(x, labels, ignore_index=ignored, label_smoothing=smoothing,
                                                       reduction=reduction), {'x': 2 * draw(6, 5), 'labels': labels})
        logs = np.log(random.dirichlet(np.ones(5), 3))
        case(f'klDiv.{reduction}', lambda x, targets: F.kl_div(x, targets, reduction=reduction),
             {'x': logs, 'targets': random.dirichlet(np.ones(5), 3)})
        case(f'klDivLog.{reduction}', lambda x, targets: F.kl_div(x, targets, reduction=reduction, log_target=True),
             {'x': logs, 'targets': np.log(random.dirichlet(np.ones(5), 3))})

    saveSafetensors(os.path.join(folder, 'networks.safetensors'), out, {'cases': json.dumps(cases)})


# Attention with masks, and with heads of queries that share keys

def attentionFile(folder, seed):
    random = np.random.RandomState(seed)
    out = {}
    draw = lambda *shape: random.standard_normal(shape)

    def case(name, shape, heads, keys, mask, scale):
        """q of `shape` [B, H, T, Dh], k and v of so many heads and keys; a mask of bools or numbers broadcasts to the scores."""
        q, k, v = [rounded(value).requires_grad_()
                   for value in (draw(*shape), draw(shape[0], heads, keys, shape[3]), draw(shape[0], heads, keys, shape[3]))]
        shared = lambda t: t.repeat_interleave(shape[1] // heads, 1)
        scores = q @ shared(k).transpose(-1, -2) * scale
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        result = torch.softmax(scores, -1) @ shared(v)
        cotangent = rounded(draw(*result.shape))
        gradients = torch.autograd.grad(result, (q, k, v), cotangent)
        inputs = {'q': exact(q), 'k': exact(k), 'v': exact(v), 'cotangent': exact(cotangent)}
        # -1.5 * 2 ** 127 stands for -infinity, which files do not hold.
        inputs['mask'] = mask.to(torch.int32) if mask.dtype == torch.bool else exact(mask.clamp(min=-1.5 * 2 ** 127))
        out.update({f'{name}.{key}': value for key, value in {**inputs, 'output': result}.items()})
        out.update({f'{name}.grad.{key}': value for key, value in zip('qkv', gradients)})

    triangle = lambda queries, keys: torch.ones(queries, keys, dtype=torch.bool).tril()
    case('causal', (2, 3, 33, 7), 3, 33, triangle(33, 33), 7 ** -0.5)
    case('causalMoreKeys', (1, 2, 9, 5), 2, 21, triangle(9, 21), 5 ** -0.5)
    case('causalShared', (2, 6, 19, 7), 2, 11, triangle(19, 11), 7 ** -0.5)
    padding = torch.ones(3, 1, 1, 17, dtype=torch.bool)
    padding[0, ..., 12:], padding[2, ..., 3] = False, False
    case('padding', (3, 2, 10, 7), 2, 17, padding, 0.7)
    bias = rounded(draw(4, 18, 23))
    bias[:, :, 20], bias[1, 5, 3:] = -math.inf, -math.inf
    case('bias', (2, 4, 18, 7), 1, 23, bias, 7 ** -0.5)
    saveSafetensors(os.path.join(folder, 'attention.safetensors'), out, {})


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
    optimizersFile(folder, 300)
    functionsFile(folder, 400)
    networksFile(folder, 300)
    attentionFile(folder, 500)


if __name__ == '__main__':
    main()
