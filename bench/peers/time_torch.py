"""Times workloads of bench/workloads.ts in PyTorch for torch.ts: takes JSON on stdin, and writes JSON to stdout."""

import json
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"not importable ({error})")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LEARNING_RATE = 1e-4


def randn(*shape):
    return torch.randn(*shape, device=DEVICE)


def causal_mask(tokens):
    return torch.full((tokens, tokens), float("-inf"), device=DEVICE).triu(1)


def attention(q, k, v, mask=None):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=mask is not None)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    return torch.softmax(scores if mask is None else scores + mask, -1) @ v


class Layer(torch.nn.Module):
    """An encoder layer; with `paper` the residual is the normalised input."""

    def __init__(self, dim, heads, width, mlp, paper):
        super().__init__()
        self.heads, self.width, self.paper = heads, width, paper
        self.norm1 = torch.nn.LayerNorm(dim)
        self.qkv = torch.nn.Linear(dim, 3 * heads * width, bias=False)
        self.out = torch.nn.Linear(heads * width, dim)
        self.norm2 = torch.nn.LayerNorm(dim)
        self.fc1 = torch.nn.Linear(dim, mlp)
        self.fc2 = torch.nn.Linear(mlp, dim)

    def forward(self, x, cls_only=False):
        u = self.norm1(x)
        inner = self.heads * self.width
        queries = u[:, :1] if cls_only else u
        weight = self.qkv.weight
        q = F.linear(queries, weight[:inner])
        k, v = F.linear(u, weight[inner:]).chunk(2, -1)
        q, k, v = (t.unflatten(-1, (self.heads, self.width)).transpose(1, 2) for t in (q, k, v))
        context = attention(q, k, v).transpose(1, 2).flatten(2)
        skip = u if self.paper else x
        y = self.out(context) + (skip[:, :1] if cls_only else skip)
        n = self.norm2(y)
        return self.fc2(F.gelu(self.fc1(n))) + (n if self.paper else y)


class ParaFormer(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        side = c["imageSize"] // c["patchSize"]
        self.patch = c["patchSize"]
        self.embed = torch.nn.Linear(c["channels"] * c["patchSize"] ** 2, c["dim"])
        self.cls = torch.nn.Parameter(torch.randn(1, 1, c["dim"]))
        self.pos = torch.nn.Parameter(torch.randn(1, side * side + 1, c["dim"]))
        paper = c["residual"] == "paper"
        self.branches = torch.nn.ModuleList(
            torch.nn.ModuleList(
                Layer(c["dim"], c["heads"], c["dimHead"], c["mlpDim"], paper) for _ in range(c["branchDepth"])
            )
            for _ in range(c["branches"])
        )
        self.norm = torch.nn.LayerNorm(c["dim"])
        self.head = torch.nn.Linear(c["dim"], c["classes"])

    def forward(self, images):
        patches = F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(images), -1, -1), self.embed(patches)], 1) + self.pos
        total = 0
        for branch in self.branches:
            z = x
            for i, layer in enumerate(branch):
                z = layer(z, cls_only=i == len(branch) - 1)
            total = total + z[:, 0]
        return self.head(self.norm(total))


def step(module, loss, optimizer):
    def run():
        optimizer.zero_grad()
        value = loss(module)
        value.backward()
        optimizer.step()
        return value.detach()

    return run


def add_chain(x, y, ops):
    def run():
        total = x
        for _ in range(ops):
            total = total + y
        return total

    return run


def mul_chain(x, y, ops):
    x.requires_grad_()
    one = torch.ones_like(x)

    def run():
        with torch.enable_grad():
            product = x
            for _ in range(ops):
                product = product * y
            (gradient,) = torch.autograd.grad(product, x, one)
        return product.detach() + gradient

    return run


def make(w):
    kind = w["kind"]
    if kind == "matmul":
        batch = (w["batch"],) if w["batch"] > 1 else ()
        m, k, n = w["m"], w["k"], w["n"]
        a = randn(*batch, k, m).transpose(-1, -2) if w["form"] == "TN" else randn(*batch, m, k)
        b = randn(*batch, n, k).transpose(-1, -2) if w["form"] == "NT" else randn(*batch, k, n)
        return lambda: a @ b
    if kind == "softmax":
        x = randn(w["rows"], w["n"])
        return lambda: torch.softmax(x, -1)
    if kind == "layerNorm":
        x, weight, bias = randn(w["rows"], w["n"]), randn(w["n"]), randn(w["n"])
        return lambda: F.layer_norm(x, (w["n"],), weight, bias)
    if kind == "attention":
        q, k, v = (randn(w["batch"], w["heads"], w["tokens"], w["width"]) for _ in range(3))
        mask = causal_mask(w["tokens"]) if w.get("causal") else None
        return lambda: attention(q, k, v, mask)
    if kind == "attentionStep":
        module = torch.nn.ParameterList(randn(w["batch"], w["heads"], w["tokens"], w["width"]) for _ in range(3))
        mask = causal_mask(w["tokens"])
        sgd = torch.optim.SGD(module.parameters(), LEARNING_RATE)
        return step(module, lambda net: attention(*net, mask).square().sum(), sgd)
    if kind == "maskedSoftmax":
        x, mask = randn(w["batch"], w["heads"], w["tokens"], w["tokens"]), causal_mask(w["tokens"])
        return lambda: torch.softmax(x + mask, -1)
    if kind == "einsum":
        q, k = (randn(w["batch"], w["heads"], w["tokens"], w["width"]) for _ in range(2))
        return lambda: torch.einsum("bhtd,bhsd->bhts", q, k)
    if kind == "topk":
        x = randn(w["rows"], w["n"])
        return lambda: torch.topk(x, w["k"]).values
    if kind == "sort":
        x = randn(w["rows"], w["n"])
        return lambda: torch.sort(x).values
    if kind == "scatterAdd":
        x, src = randn(w["rows"], w["width"]), randn(w["count"], w["width"])
        index = torch.randint(w["rows"], (w["count"], 1), device=DEVICE).expand_as(src)
        return lambda: x.scatter_add(0, index, src)
    if kind == "conv2d":
        x, weight = randn(w["batch"], w["channels"], w["size"], w["size"]), randn(w["channels"], w["channels"], 3, 3)
        return lambda: F.conv2d(x, weight, padding=1)
    if kind == "convStep":
        convolution = lambda: torch.nn.Conv2d(w["channels"], w["channels"], 3, padding=1)
        module = torch.nn.Sequential(convolution(), torch.nn.ReLU(), convolution()).to(DEVICE)
        x = randn(w["batch"], w["channels"], w["size"], w["size"])
        sgd = torch.optim.SGD(module.parameters(), LEARNING_RATE)
        return step(module, lambda net: net(x).square().mean(), sgd)
    if kind == "add":
        a, b = randn(w["n"]), randn(w["n"])
        return lambda: a + b
    if kind in ("addChain", "mulChain"):
        x, y = randn(w["size"], w["size"]), 1 + 1e-3 * randn(w["size"], w["size"])
        return add_chain(x, y, w["ops"]) if kind == "addChain" else mul_chain(x, y, w["ops"])
    if kind == "mlpStep":
        module = torch.nn.Sequential(
            torch.nn.Linear(w["inputs"], w["hidden"]), torch.nn.GELU(), torch.nn.Linear(w["hidden"], w["classes"])
        ).to(DEVICE)
        x = randn(w["batch"], w["inputs"])
        labels = torch.arange(w["batch"], device=DEVICE) * 7 % w["classes"]
        sgd = torch.optim.SGD(module.parameters(), LEARNING_RATE)
        return step(module, lambda net: F.cross_entropy(net(x), labels), sgd)
    if kind == "blockStep":
        module = Layer(w["dim"], w["heads"], w["dim"] // w["heads"], w["mlp"], paper=False).to(DEVICE)
        x = randn(w["batch"], w["tokens"], w["dim"])
        sgd = torch.optim.SGD(module.parameters(), LEARNING_RATE)
        return step(module, lambda net: net(x).square().mean(), sgd)
    config = w["config"]
    module = ParaFormer(config).to(DEVICE)
    images = randn(w["batch"], config["channels"], config["imageSize"], config["imageSize"])
    labels = torch.arange(w["batch"], device=DEVICE) * 7 % config["classes"]
    adam = torch.optim.Adam(module.parameters(), LEARNING_RATE)
    return step(module, lambda net: F.cross_entropy(net(images), labels), adam)


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def measure(run, runs):
    start = time.perf_counter()
    for _ in range(runs):
        last = run()
    synchronize()
    milliseconds = (time.perf_counter() - start) / runs * 1000
    if not (torch.isfinite(last).all() and (last != 0).any()):
        sys.exit("a timed run computed nothing, or values that are not finite")
    return milliseconds


def quantile(values, q):
    at = q * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def main():
    task = json.load(sys.stdin)
    # Products are computed in full float32, as in the other libraries.
    torch.backends.cuda.matmul.allow_tf32 = False
    times = []
    for w in task["workloads"]:
        run = make(w)
        with torch.set_grad_enabled(w["kind"].endswith("Step")):
            measure(run, 1)
            runs = max(1, round(task["time"] / 20 / measure(run, 1)))
            samples = []
            while len(samples) < 3 or sum(samples) * runs < task["time"]:
                samples.append(measure(run, runs))
        samples.sort()
        found = {name: quantile(samples, q) for name, q in (("median", 0.5), ("p20", 0.2), ("p80", 0.8))}
        times.append({"workload": w["kind"], "shape": w["shape"], **found})
    device = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    json.dump({"version": torch.__version__, "device": device, "times": times}, sys.stdout)


main()
