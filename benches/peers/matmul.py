"""The matrix products of a linear layer in PyTorch (MKL and oneDNN): matmul.py f32 | bf16.

In bf16 both factors and the result are bf16 already; ours take and give f32.
"""

import sys
import time

import worker

(torch,) = worker.need("torch")
from shapes import HIDDEN, KERNEL_ROWS, WIDE

torch.set_num_threads(worker.THREADS)
mode = sys.argv[1]
dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[mode]
SHAPES = [(HIDDEN, HIDDEN), (HIDDEN, WIDE), (WIDE, HIDDEN), (HIDDEN, 1536), (1536, HIDDEN)]
cases = []
for k, n in SHAPES:
    x, w, dy = (torch.rand(shape, dtype=dtype) for shape in ((KERNEL_ROWS, k), (n, k), (KERNEL_ROWS, n)))
    for which, call in (
        ("forward", lambda x=x, w=w: torch.nn.functional.linear(x, w)),
        ("grad_input", lambda dy=dy, w=w: dy @ w),
        ("grad_weight", lambda dy=dy, x=x: dy.t() @ x),
    ):
        cases.append((f"kernel_linear_{which}_{k}x{n}_{mode}_gflops", 2 * KERNEL_ROWS * k * n / 1e9, call))


def each(call):
    """Seconds of a call, averaged over as many as fill a moment."""
    start, calls = time.perf_counter(), 0
    while time.perf_counter() - start < 0.02 or not calls:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls


def measure():
    with torch.inference_mode():
        for name, work, call in cases:
            yield name, work / each(call), "GFLOP/s", ""


worker.serve(f"PyTorch {torch.__version__} {mode}", measure)
