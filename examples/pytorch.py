"""Loads a checkpoint of `paraformer train` into PyTorch, with ParaFormer written anew there, and compares its logits on random images
with those of `paraformer predict`: python3 examples/pytorch.py runs/mnist-paraformer-prefixSum/model.safetensors"""
import json, math, struct, subprocess, sys

import torch
from torch import nn


def load(path):
    """Reads float32 tensors as `safetensors` does: a length, a header in JSON, then the bytes of all tensors."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), bytearray(file.read())
    metadata, tensors = header.pop("__metadata__", {}), {}
    for name, entry in header.items():
        count, offset = math.prod(entry["shape"]), entry["data_offsets"][0]
        tensors[name] = torch.frombuffer(data, dtype=torch.float32, count=count, offset=offset).reshape(entry["shape"])
    return tensors, metadata


def save(path, name, tensor):
    """Writes one float32 tensor."""
    data = tensor.numpy().tobytes()
    header = json.dumps({name: {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [0, len(data)]}}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


class Layer(nn.Module):
    def __init__(self, dim, heads, dimHead, mlpDim, residual, **_):
        super().__init__()
        self.heads, self.paper = heads, residual == "paper"
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        qkv, out = nn.Linear(dim, 3 * heads * dimHead, bias=False), nn.Linear(heads * dimHead, dim)
        self.attention = nn.ModuleDict({"qkv": qkv, "out": out})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, mlpDim), "fc2": nn.Linear(mlpDim, dim)})

    def forward(self, x):  # [B, N, D]
        u = self.norm1(x)
        q, k, v = self.attention["qkv"](u).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, H, N, Dh]
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)  # [B, H, N, N]
        y = self.attention["out"]((weights @ v).transpose(1, 2).flatten(2)) + (u if self.paper else x)
        w = self.norm2(y)
        return self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](w))) + (w if self.paper else y)


class ParaFormer(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim, self.patch, self.pool = config["dim"], config["patchSize"], config["pool"]
        tokens = (config["imageSize"] // self.patch) ** 2
        self.embed = nn.Linear(config["channels"] * self.patch**2, dim)
        self.clsToken = nn.Parameter(torch.zeros(1, 1, dim))
        self.posEmbedding = nn.Parameter(torch.zeros(1, tokens + 1, dim))
        self.branches = nn.ModuleList()
        for _ in range(config["branches"]):
            layers = nn.Sequential(*(Layer(**config) for _ in range(config["branchDepth"])))
            self.branches.append(nn.ModuleDict({"layers": layers}))
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(dim), "linear": nn.Linear(dim, config["classes"])})

    def forward(self, images):  # [B, C, H, W]
        p = self.patch
        cut = images.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 4, 5, 1)  # [B, rows, columns, p, p, C]
        patches = cut.flatten(3).flatten(1, 2)  # [B, T, p * p * C]
        x = torch.cat([self.clsToken.expand(len(images), -1, -1), self.embed(patches)], 1) + self.posEmbedding
        z = sum(branch["layers"](x) for branch in self.branches)  # [B, T + 1, D]
        return self.head["linear"](self.head["norm"](z[:, 0] if self.pool == "cls" else z.mean(1)))


parameters, metadata = load(sys.argv[1])
config = json.loads(metadata["config"])
model = ParaFormer(config)
model.load_state_dict(parameters)  # fails unless it has every parameter by the same name and shape
images = torch.randn(8, config["channels"], config["imageSize"], config["imageSize"])
save("images.safetensors", "images", images)
files = ["--input", "images.safetensors", "--output", "logits.safetensors"]
subprocess.run(["npx", "paraformer", "predict", "--checkpoint", sys.argv[1], *files], check=True)
theirs, ours = load("logits.safetensors")[0]["logits"], model(images)
print(f"of {theirs.numel()} logits the largest difference is {(theirs - ours).abs().max():.1e}, the largest logit {theirs.max():.2f}")
