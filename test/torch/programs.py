"""Runs the programs of programs.json (see program.ts) in PyTorch, in float64, and writes the values and gradients of each to answers.json.

    python3 programs.py FOLDER
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def variance(x, a, root):
    v = x.var(a['dim'], unbiased=a['correction'] == 1, keepdim=a['keepdim'])
    return v.sqrt() if root else v


def over(x, a, one):
    """Applies a reduction that takes one dim to a list of dims, in descending order."""
    for d in sorted((d % x.dim() for d in a['dim']), reverse=True):
        x = one(x, d, a['keepdim'])
    return x


def remainder(x, y):
    return x - y * torch.floor(x / y).detach()


def lerp(x, y, w):
    return x + w * (y - x)


def attention(q, k, v, a, mask=None):
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * a['scale']
    if a['causal']:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~seen, float('-inf'))
    if mask is not None:
        scores = scores + mask if mask.is_floating_point() else scores.masked_fill(mask == 0, float('-inf'))
    return scores.softmax(-1) @ v


def steps_slice(x, a):
    for d, (start, stop, step) in enumerate(a['ranges']):
        index = torch.tensor(range(start, stop, step))
        x = x.index_select(d, index)
    return x


def layer_norm(x, w, b, eps):
    return F.layer_norm(x, x.shape[-1:], w, b, eps)


def rms_norm(x, w, eps):
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * w


def batch_norm(x, w, b, eps):
    return F.batch_norm(x, None, None, w, b, True, 0.1, eps)


def truth(x):
    return x.to(torch.int64)


UNARY = ['neg', 'exp', 'log', 'sqrt', 'tanh', 'relu', 'sigmoid', 'abs', 'sign', 'floor', 'ceil', 'round', 'trunc', 'sin', 'cos', 'erf', 'rsqrt',
         'reciprocal', 'square', 'exp2', 'log2', 'log1p', 'expm1']
OPS = {
    **{name: (lambda f: lambda x, a: f(x))(getattr(torch, name)) for name in UNARY},
    'gelu': lambda x, a: F.gelu(x, approximate=a['approximate']),
    'silu': lambda x, a: F.silu(x),
    'softplus': lambda x, a: F.softplus(x),
    'leakyRelu': lambda x, a: F.leaky_relu(x, a['slope']),
    'clamp': lambda x, a: x.clamp(a['min'], a['max']),
    'add': lambda x, y, a: x + y, 'sub': lambda x, y, a: x - y, 'mul': lambda x, y, a: x * y, 'div': lambda x, y, a: x / y,
    'pow': lambda x, y, a: x ** y,
    'scale': lambda x, a: x * a['by'],
    'minimum': lambda x, y, a: torch.minimum(x, y), 'maximum': lambda x, y, a: torch.maximum(x, y),
    'atan2': lambda x, y, a: torch.atan2(x, y), 'remainder': lambda x, y, a: remainder(x, y),
    'lerp': lambda x, y, w, a: lerp(x, y, w),
    **{name: (lambda f: lambda x, y, a: truth(f(x, y)))(getattr(torch, name)) for name in ['eq', 'ne', 'lt', 'le', 'gt', 'ge']},
    'logicalAnd': lambda x, y, a: truth(torch.logical_and(x, y)), 'logicalOr': lambda x, y, a: truth(torch.logical_or(x, y)),
    'logicalNot': lambda x, a: truth(torch.logical_not(x)),
    'isNaN': lambda x, a: truth(torch.isnan(x)), 'isFinite': lambda x, a: truth(torch.isfinite(x)),
    'cast': lambda x, a: x.to(torch.float64 if a['dtype'] == 'float32' else torch.int64),
    'where': lambda c, x, y, a: torch.where(c != 0, x, y),
    'sum': lambda x, a: x.sum(a['dim'], a['keepdim']), 'mean': lambda x, a: x.mean(a['dim'], a['keepdim']),
    'max': lambda x, a: x.amax(a['dim'], a['keepdim']), 'min': lambda x, a: x.amin(a['dim'], a['keepdim']),
    'prod': lambda x, a: over(x, a, lambda t, d, k: t.prod(d, k)),
    'variance': lambda x, a: variance(x, a, False), 'std': lambda x, a: variance(x, a, True),
    'norm': lambda x, a: x.square().sum(a['dim'], a['keepdim']).sqrt(),
    'logsumexp': lambda x, a: x.logsumexp(a['dim'], a['keepdim']),
    'any': lambda x, a: over(truth(x != 0), a, lambda t, d, k: t.any(d, k).to(torch.int64)),
    'all': lambda x, a: over(truth(x != 0), a, lambda t, d, k: t.all(d, k).to(torch.int64)),
    'argmax': lambda x, a: x.argmax(a['dim'], a['keepdim']), 'argmin': lambda x, a: x.argmin(a['dim'], a['keepdim']),
    'cumsum': lambda x, a: x.cumsum(a['dim']), 'cumprod': lambda x, a: x.cumprod(a['dim']),
    'cummax': lambda x, a: x.cummax(a['dim'])[0],
    'softmax': lambda x, a: x.softmax(a['dim']), 'logSoftmax': lambda x, a: x.log_softmax(a['dim']),
    'sort': lambda x, a: x.sort(a['dim'], a['descending'])[0], 'argsort': lambda x, a: x.argsort(a['dim'], a['descending']),
    'topk': lambda x, a: x.topk(a['k'], a['dim'])[0],
    'gather': lambda x, i, a: x.gather(a['dim'], i), 'indexSelect': lambda x, i, a: x.index_select(a['dim'], i),
    'scatter': lambda x, i, s, a: x.scatter(a['dim'], i, s), 'scatterAdd': lambda x, i, s, a: x.scatter_add(a['dim'], i, s),
    'maskedFill': lambda x, m, a: x.masked_fill(m != 0, a['value']),
    'triu': lambda x, a: x.triu(a['k']), 'tril': lambda x, a: x.tril(a['k']),
    'oneHot': lambda i, a: F.one_hot(i, a['classes']),
    'embedding': lambda w, i, a: F.embedding(i, w),
    'reshape': lambda x, a: x.reshape(a['shape']), 'permute': lambda x, a: x.permute(a['order']),
    'transpose': lambda x, a: x.transpose(*a['dims']), 'broadcastTo': lambda x, a: x.broadcast_to(a['shape']),
    'slice': lambda x, a: steps_slice(x, a), 'flip': lambda x, a: x.flip(a['dims']), 'roll': lambda x, a: x.roll(a['shifts'], a['dims']),
    'tile': lambda x, a: x.tile(a['reps']), 'squeeze': lambda x, a: x.squeeze(a['dim']), 'unsqueeze': lambda x, a: x.unsqueeze(a['dim']),
    'flatten': lambda x, a: x.flatten(), 'split': lambda x, a: x.split(a['sizes'], a['dim'])[a['part']],
    'chunk': lambda x, a: x.chunk(a['n'], a['dim'])[a['part']],
    'concat': lambda x, y, a: torch.cat([x, y], a['dim']), 'stack': lambda x, y, a: torch.stack([x, y], a['dim']),
    'clone': lambda x, a: x.clone(), 'detach': lambda x, a: x.detach(),
    'matmul': lambda x, y, a: x @ y, 'einsum': lambda x, y, a: torch.einsum(a['equation'], x, y),
    'linear': lambda x, w, b, a: F.linear(x, w, b),
    'layerNorm': lambda x, w, b, a: layer_norm(x, w, b, a['eps']), 'rmsNorm': lambda x, w, a: rms_norm(x, w, a['eps']),
    'groupNorm': lambda x, w, b, a: F.group_norm(x, a['groups'], w, b, a['eps']),
    'batchNorm': lambda x, w, b, a: batch_norm(x, w, b, a['eps']),
    'conv2d': lambda x, w, b, a: F.conv2d(x, w, b, a['stride'], a['padding'], a['dilation'], a['groups']),
    'maxPool2d': lambda x, a: F.max_pool2d(x, a['size'], a['stride'], a['padding']),
    'avgPool2d': lambda x, a: F.avg_pool2d(x, a['size'], a['stride'], a['padding']),
    'attention': lambda q, k, v, a: attention(q, k, v, a), 'maskedAttention': lambda q, k, v, m, a: attention(q, k, v, a, m),
    'crossEntropy': lambda x, i, a: F.cross_entropy(x, i, reduction=a['reduction'], label_smoothing=a['labelSmoothing'], ignore_index=a['ignoreIndex']),
    'mseLoss': lambda x, y, a: F.mse_loss(x, y), 'bceWithLogits': lambda x, y, a: F.binary_cross_entropy_with_logits(x, y),
    'klDiv': lambda x, y, a: F.kl_div(x, y, reduction='mean'),
}


def leaf(value):
    data = torch.tensor(value['data'], dtype=torch.float64 if value['dtype'] == 'float32' else torch.int64).reshape(value['shape'])
    return data.requires_grad_() if value['dtype'] == 'float32' else data


def answer(program):
    leaves = [leaf(value) for value in program['leaves']]
    values = list(leaves)
    for step in program['steps']:
        values.append(OPS[step['op']](*[values[i] for i in step['inputs']], step['args']))
    loss = torch.zeros(())
    for i, weights in program['cotangents']:
        loss = loss + (values[i] * torch.tensor(weights).reshape(values[i].shape)).sum()
    if loss.requires_grad:
        loss.backward()
    made = values[len(leaves):]
    return {
        'shapes': [list(v.shape) for v in made],
        'values': [v.detach().double().reshape(-1).tolist() for v in made],
        'gradients': [None if t.grad is None else t.grad.reshape(-1).tolist() for t in leaves],
    }


def main(folder):
    programs = json.loads((folder / 'programs.json').read_text())
    answers = []
    for i, program in enumerate(programs):
        try:
            answers.append(answer(program))
        except Exception as error:
            answers.append({'error': f'{type(error).__name__}: {error}'})
    (folder / 'answers.json').write_text(json.dumps(answers))


main(pathlib.Path(sys.argv[1]))
