"""A training step of the decoder in plain PyTorch: train.py f32 | bf16 | bf16-compiled.

bf16 is autocast, as a user writes it; weights and AdamW (fused) stay in f32.
"""

import sys

import worker

(torch,) = worker.need("torch")
nn, F = torch.nn, torch.nn.functional
from shapes import HEADS, HIDDEN, LAYERS, TRAIN_LENGTH, TRAIN_ROWS, VOCABULARY, WIDE

torch.manual_seed(0)
torch.set_num_threads(worker.THREADS)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda a, b: nn.Linear(a, b, bias=False)
        self.q, self.k, self.v, self.o = (linear(HIDDEN, HIDDEN) for _ in range(4))
        self.gate, self.up, self.down = linear(HIDDEN, WIDE), linear(HIDDEN, WIDE), linear(WIDE, HIDDEN)
        self.norm1, self.norm2 = nn.RMSNorm(HIDDEN, eps=1e-5), nn.RMSNorm(HIDDEN, eps=1e-5)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        h = self.norm1(x)
        q, k, v = [f(h).view(b, t, HEADS, HIDDEN // HEADS).transpose(1, 2) for f in (self.q, self.k, self.v)]

        def rotate(z):
            left, right = z.chunk(2, -1)
            return (z * cos + torch.cat((-right, left), -1) * sin).to(v.dtype)

        y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, HIDDEN))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(HIDDEN, eps=1e-5)
        self.head = nn.Linear(HIDDEN, VOCABULARY, bias=False)
        half = HIDDEN // HEADS
        angles = torch.outer(torch.arange(TRAIN_LENGTH), 1.0 / (10000 ** (torch.arange(0, half, 2) / half)))
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


mode = sys.argv[1]
model = Decoder()
forward = torch.compile(model) if mode == "bf16-compiled" else model
adam = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
ids = torch.randint(0, VOCABULARY, (TRAIN_ROWS, TRAIN_LENGTH + 1))


def step():
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode != "f32"):
        logits = forward(ids[:, :-1])
        loss = F.cross_entropy(logits.float().reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adam.step()
    adam.zero_grad(set_to_none=True)


def measure():
    name = "train_f32_tokens_per_s" if mode == "f32" else "train_tokens_per_s"
    yield name, TRAIN_ROWS * TRAIN_LENGTH / worker.seconds(step), "tokens/s", ""
    if mode != "f32":
        yield "train_peak_mb", worker.peak_mb(), "MB", ""


worker.serve(f"PyTorch {torch.__version__} {mode}", measure)
