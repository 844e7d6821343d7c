"""MiniLM with sentence-transformers: embed.py f32 | bf16 [FOLDER], by default the encoder in `models/encoder`.

Two figures for each length: texts as a user hands them over, and token ids, which is what `visa bench` measures.
"""

import pathlib
import random
import sys

import worker

torch, library = worker.need("torch", "sentence_transformers")
from shapes import TEXTS

torch.set_num_threads(worker.THREADS)
mode = sys.argv[1]
folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2] / "models/encoder")
model = library.SentenceTransformer(str(folder), device="cpu").float().eval()
random.seed(0)
WORDS = "the value of honest work is seen when people help each other learn and grow in a world of care and order".split()


def texts(length):
    """Texts of exactly so many tokens, the two specials among them."""
    made = [" ".join(random.choice(WORDS) for _ in range(length - 2)) for _ in range(TEXTS)]
    counts = {len(ids) for ids in model.tokenizer(made)["input_ids"]}
    assert counts == {length}, f"texts have {counts} tokens, not {length}"
    return made


BATCHES = {length: texts(length) for length in (24, 128)}


def encode(batch):
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "bf16"):
        model.encode(batch, batch_size=TEXTS, show_progress_bar=False)


def forward(tokens):
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "bf16"):
        model.forward(dict(tokens))


def measure():
    for length, batch in BATCHES.items():
        name = f"encoder{length}_texts_per_s"
        yield name, TEXTS / worker.seconds(lambda: encode(batch)), "texts/s", "with tokenizing"
        tokens = model.tokenizer(batch, return_tensors="pt")
        yield name, TEXTS / worker.seconds(lambda: forward(tokens)), "texts/s", ""


worker.serve(f"sentence-transformers {library.__version__} {mode}", measure)
