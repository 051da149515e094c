"""Trains the networks of examples/charTransformer.mjs and examples/resnet.mjs in PyTorch from the same weights on the same batches, and prints their losses.

    python3 networks.py charTransformer|resnet WEIGHTS.npz BATCHES.npz

The batches are `inputs` and `labels` [steps, ...], and `validationInputs` and `validationLabels` [...]; `rate` has the learning rate of each step.
It prints JSON: the loss of each step, and at the end that of the validation batch.
"""
import json
import sys

import numpy
import torch
import torch.nn.functional as F

name, weights_path, batches_path = sys.argv[1:]
weights = {k: torch.tensor(v).requires_grad_(not k.split('.')[-1].startswith('running')) for k, v in numpy.load(weights_path).items()}
batches = {k: torch.tensor(v) for k, v in numpy.load(batches_path).items()}


def linear(x, at):
    return F.linear(x, weights[at + '.weight'], weights[at + '.bias'])


def norm(x, at):
    return F.layer_norm(x, x.shape[-1:], weights[at + '.weight'], weights[at + '.bias'])


def char_transformer(ids, training, heads=4):
    T = ids.shape[1]
    x = weights['tokens.weight'][ids.long()] + weights['positions.weight'][:T]
    B, T, D = x.shape
    for l in range(sum(1 for k in weights if k.endswith('.attention.qkv.weight'))):
        at = f'blocks.{l}'
        q, k, v = linear(norm(x, at + '.norm1'), at + '.attention.qkv').reshape(B, T, 3, heads, D // heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (D // heads) ** 0.5
        scores = scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), float('-inf'))
        x = x + linear((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, D), at + '.attention.out')
        x = x + linear(F.gelu(linear(norm(x, at + '.norm2'), at + '.mlp.fc1')), at + '.mlp.fc2')
    return linear(norm(x, 'norm'), 'head')


def conv(x, at, stride=1):
    weight = weights[at + '.weight']
    return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)


def batch_norm(x, at, training):
    mean, variance = weights[at + '.runningMean'], weights[at + '.runningVariance']
    return F.batch_norm(x, mean, variance, weights[at + '.weight'], weights[at + '.bias'], training, 0.1, 1e-5)


def resnet(x, training):
    x = batch_norm(conv(x, 'stem.0'), 'stem.1', training).relu()
    for i, stride in enumerate([1, 2, 2]):
        at = f'blocks.{i}'
        y = batch_norm(conv(x, at + '.body.0', stride), at + '.body.1', training).relu()
        y = batch_norm(conv(y, at + '.body.3'), at + '.body.4', training)
        if at + '.skip.0.weight' in weights:
            x = batch_norm(conv(x, at + '.skip.0', stride), at + '.skip.1', training)
        x = (x + y).relu()
    return linear(x.mean((2, 3)), 'head')


forward = {'charTransformer': char_transformer, 'resnet': resnet}[name]
parameters = {k: w for k, w in weights.items() if w.requires_grad}
# Weight decay is for weights of more than one dim alone, as the engine's optimizers do it.
matrices = [w for w in parameters.values() if w.dim() > 1]
vectors = [w for w in parameters.values() if w.dim() <= 1]
decay = 5e-4 if name == 'resnet' else 0.01
groups = [{'params': matrices, 'weight_decay': decay}, {'params': vectors, 'weight_decay': 0.0}]
optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9) if name == 'resnet' else torch.optim.AdamW(groups, lr=1e-3)


def loss_of(inputs, labels, training):
    logits = forward(inputs, training)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.long().reshape(-1))


losses = []
for inputs, labels, rate in zip(batches['inputs'], batches['labels'], batches['rate']):
    for group in optimizer.param_groups:
        group['lr'] = float(rate)
    loss = loss_of(inputs, labels, True)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
with torch.no_grad():
    validation = loss_of(batches['validationInputs'], batches['validationLabels'], False).item()
print(json.dumps({'losses': losses, 'validation': validation}))
