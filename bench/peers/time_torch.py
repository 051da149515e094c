"""Times workloads of bench/workloads.ts in PyTorch for torch.ts.

Writes a line of JSON that says what computes; then reads tasks, one line of JSON each, and answers each with a line. Operands and
values are float32 or int32 in files of the task's folder.
"""

import ctypes
import json
import os
import re
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"not importable ({error})")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LEARNING_RATE = 1e-4
# What a library of linear algebra is called, by a part of its file's name.
LIBRARIES = {
    "mkl": "MKL",
    "openblas": "OpenBLAS",
    "blis": "BLIS",
    "nvpl_blas": "NVPL",
    "armpl": "Arm PL",
    "Accelerate": "Accelerate",
}


def loaded_blas():
    """The BLAS that computes products: the name, or None for the reference BLAS, and where the name comes from."""
    torch.randn(64, 64) @ torch.randn(64, 64)
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split()[-1] for line in maps if ".so" in line}
    except OSError:
        paths = set()
    # Wheels of NumPy and SciPy bring libraries of their own, which PyTorch does not use.
    files = {os.path.basename(path) for path in paths if not re.search(r"(numpy|scipy)\.libs", path)}
    config = torch.__config__.show()
    for part, name in LIBRARIES.items():
        found = sorted(file for file in files if re.match(f"lib{part}", file))
        if found:
            return name, found[0]
    # Wheels have MKL or OpenBLAS inside of libtorch_cpu, which says so.
    built = re.search(r"BLAS_INFO=(\w+)", config)
    inside = {"mkl": "MKL", "open": "OpenBLAS", "accelerate": "Accelerate"}.get(built.group(1) if built else "")
    if inside:
        return inside, "built in"
    return None, ", ".join(sorted(file for file in files if file.startswith("libblas"))) or "none of its own"


def use_all_threads():
    """Takes as many threads as there are processors: by itself PyTorch takes one for each core that cpuinfo recognises."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(count)
    if torch.get_num_threads() != count:
        sys.exit(f"it takes {torch.get_num_threads()} threads of {count}")
    return count


def causal_mask(tokens):
    return torch.full((tokens, tokens), float("-inf"), device=DEVICE).triu(1)


def attention(q, k, v, mask=None):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=mask is not None)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    return torch.softmax(scores if mask is None else scores + mask, -1) @ v


def norm(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])


def linear(p, name, x):
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def layer(p, prefix, x, heads, width, paper, cls_only=False):
    """An encoder layer with the parameters `p`; with `paper` the residual is the normalised input."""
    u = norm(p, f"{prefix}norm1", x)
    inner = heads * width
    weight = p[f"{prefix}attention.qkv.weight"]
    q = F.linear(u[:, :1] if cls_only else u, weight[:inner])
    k, v = F.linear(u, weight[inner:]).chunk(2, -1)
    q, k, v = (t.unflatten(-1, (heads, width)).transpose(1, 2) for t in (q, k, v))
    context = attention(q, k, v).transpose(1, 2).flatten(2)
    skip = u if paper else x
    y = linear(p, f"{prefix}attention.out", context) + (skip[:, :1] if cls_only else skip)
    n = norm(p, f"{prefix}norm2", y)
    return linear(p, f"{prefix}mlp.fc2", F.gelu(linear(p, f"{prefix}mlp.fc1", n))) + (n if paper else y)


def paraformer(p, c, images):
    """The logits [B, classes] of ParaFormer for images [B, C, H, W]."""
    batch, patch = len(images), c["patchSize"]
    side = c["imageSize"] // patch
    cut = images.reshape(batch, c["channels"], side, patch, side, patch).permute(0, 2, 4, 3, 5, 1)
    embedded = linear(p, "embed", cut.reshape(batch, side * side, -1))
    x = torch.cat([p["clsToken"].expand(batch, -1, -1), embedded], 1) + p["posEmbedding"]
    total = 0
    for branch in range(c["branches"]):
        z = x
        for i in range(c["branchDepth"]):
            prefix = f"branches.{branch}.layers.{i}."
            z = layer(p, prefix, z, c["heads"], c["dimHead"], c["residual"] == "paper", i == c["branchDepth"] - 1)
        total = total + z[:, 0]
    return linear(p, "head.linear", norm(p, "head.norm", total))


def add_chain(x, y, ops):
    total = x
    for _ in range(ops):
        total = total + y
    return total


def mul_chain(x, y, ops):
    """A chain of products, and its gradient by `x`."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        product = x
        for _ in range(ops):
            product = product * y
        (gradient,) = torch.autograd.grad(product, x, torch.ones_like(x))
    return product.detach() + gradient


def op(w, o):
    """The function of a workload that is an op of the operands `o`."""
    kind = w["kind"]
    if kind == "matmul":
        a = o["a"].transpose(-1, -2) if w["form"] == "TN" else o["a"]
        b = o["b"].transpose(-1, -2) if w["form"] == "NT" else o["b"]
        return lambda: a @ b
    if kind == "softmax":
        return lambda: torch.softmax(o["x"], -1)
    if kind == "layerNorm":
        return lambda: norm(o, "norm", o["x"])
    if kind == "attention":
        mask = causal_mask(w["tokens"]) if w.get("causal") else None
        return lambda: attention(o["q"], o["k"], o["v"], mask)
    if kind == "maskedSoftmax":
        return lambda: torch.softmax(o["x"] + o["mask"], -1)
    if kind == "einsum":
        return lambda: torch.einsum("bhtd,bhsd->bhts", o["q"], o["k"])
    if kind == "topk":
        return lambda: torch.topk(o["x"], w["k"]).values
    if kind == "sort":
        return lambda: torch.sort(o["x"]).values
    if kind == "scatterAdd":
        index = o["index"].long()[:, None].expand_as(o["src"])
        return lambda: o["x"].scatter_add(0, index, o["src"])
    if kind == "conv2d":
        return lambda: F.conv2d(o["x"], o["conv.weight"], o["conv.bias"], padding=1)
    if kind == "add":
        return lambda: o["a"] + o["b"]
    if kind == "addChain":
        return lambda: add_chain(o["x"], o["y"], w["ops"])
    if kind == "mulChain":
        return lambda: mul_chain(o["x"], o["y"], w["ops"])
    return None


def loss_of(w, o):
    """The loss of a workload that is a training step, as a function of the parameters."""
    kind = w["kind"]
    labels = o["labels"].long() if "labels" in o else None
    if kind == "attentionStep":
        mask = causal_mask(w["tokens"])
        return lambda p: attention(p["q"], p["k"], p["v"], mask).square().sum()
    if kind == "convStep":
        conv = lambda p, name, x: F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=1)
        return lambda p: conv(p, "conv2", F.relu(conv(p, "conv1", o["x"]))).square().mean()
    if kind == "mlpStep":
        return lambda p: F.cross_entropy(linear(p, "fc2", F.gelu(linear(p, "fc1", o["x"]))), labels)
    if kind == "blockStep":
        return lambda p: layer(p, "", o["x"], w["heads"], w["dim"] // w["heads"], False).square().mean()
    if kind == "modelStep":
        return lambda p: F.cross_entropy(paraformer(p, w["config"], o["images"]), labels)
    return None


class Run:
    """A workload that is ready to run; `last` is the output of the last run, or the loss of the last step."""

    def __init__(self, w, operands):
        self.op = op(w, operands)
        self.last = None
        if self.op:
            return
        self.loss = loss_of(w, operands)
        if not self.loss:
            raise ValueError(f"{w['kind']} is not written for PyTorch")
        inputs = ("x", "images", "labels")
        self.parameters = {name: torch.nn.Parameter(t) for name, t in operands.items() if name not in inputs}
        optimizer = torch.optim.Adam if w["kind"] == "modelStep" else torch.optim.SGD
        self.optimizer = optimizer(self.parameters.values(), LEARNING_RATE)

    def backward(self):
        self.optimizer.zero_grad()
        loss = self.loss(self.parameters)
        loss.backward()
        return loss.detach()

    def once(self):
        if self.op:
            with torch.no_grad():
                self.last = self.op()
        else:
            self.last = self.backward()
            self.optimizer.step()

    def values(self):
        """The output of an op; of a step the loss and all gradients, without an update."""
        if self.op:
            self.once()
            return {"out": self.last}
        loss = self.backward()
        return {"loss": loss, **{name: t.grad for name, t in self.parameters.items()}}


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def measure(run, runs):
    start = time.perf_counter()
    for _ in range(runs):
        run.once()
    synchronize()
    return (time.perf_counter() - start) / runs * 1000


def quantile(values, q):
    at = q * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def load(folder, number, shape, dtype):
    with open(os.path.join(folder, str(number)), "rb") as file:
        flat = torch.frombuffer(bytearray(file.read()), dtype=torch.int32 if dtype == "int32" else torch.float32)
    return flat.reshape(shape).to(DEVICE)


def save(folder, name, values):
    """Writes values one after the other into a file. Returns their names and lengths."""
    with open(os.path.join(folder, name), "wb") as file:
        for t in values.values():
            flat = t.detach().float().cpu().contiguous().flatten()
            # The memory itself is written, the memory of the tensor, since NumPy may be missing.
            file.write(memoryview((ctypes.c_char * (4 * flat.numel())).from_address(flat.data_ptr())))
    return [[key, t.numel()] for key, t in values.items()]


def answer(task):
    folder = task["folder"]
    operands = {name: load(folder, i, shape, dtype) for i, (name, shape, dtype) in enumerate(task["operands"])}
    run = Run(task["workload"], operands)
    before = save(folder, "before", run.values())
    measure(run, 1)
    runs = max(1, round(task["time"] / 20 / measure(run, 1)))
    samples = []
    while len(samples) < task["minSamples"] or sum(samples) * runs < task["time"]:
        samples.append(measure(run, runs))
    samples.sort()
    last = save(folder, "last", {"last": run.last})
    after = save(folder, "after", run.values())
    times = {name: quantile(samples, q) for name, q in (("median", 0.5), ("p20", 0.2), ("p80", 0.8))}
    return {"times": times, "before": before, "last": last, "after": after}


def say(message):
    print(json.dumps(message), flush=True)


def main():
    # Products are computed in full float32, as in the other libraries.
    torch.backends.cuda.matmul.allow_tf32 = False
    said = {"version": torch.__version__, "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "the CPU"}
    if DEVICE.type == "cpu":
        said["threads"] = use_all_threads()
        name, source = loaded_blas()
        if name is None:
            sys.exit(
                f"left out: its BLAS is the reference one ({source}), many times slower than others;"
                " `apt-get install libopenblas0-pthread` installs one that its products use"
            )
        said["blas"] = f"{name} ({source})"
    say(said)
    for line in sys.stdin:
        try:
            say(answer(json.loads(line)))
        except Exception as error:
            say({"reason": f"{type(error).__name__}: {error}".split("\n")[0]})


main()
