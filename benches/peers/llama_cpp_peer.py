"""Prefill, decoding and rollouts of the decoder with llama.cpp: llama_cpp_peer.py bf16 | q8_0.

The same shape with random weights, written as GGUF by the `gguf` package.
"""

import ctypes
import os
import pathlib
import sys
import tempfile

import worker

numpy, gguf, llama = worker.need("numpy", "gguf", "llama_cpp")
from shapes import COMPLETION, GROUP, HEADS, HIDDEN, LAYERS, PROMPT, PROMPTS, VOCABULARY, WIDE

mode = sys.argv[1]
KIND = {"bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}[mode]
random = numpy.random.default_rng(0)


def write(path):
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(2048)
    out.add_embedding_length(HIDDEN)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(WIDE)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_rope_dimension_count(HIDDEN // HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(VOCABULARY)
    # The tokenizer is never asked; the format wants one.
    out.add_tokenizer_model("llama")
    out.add_token_list([f"<{i}>".encode() for i in range(VOCABULARY)])
    out.add_token_scores([0.0] * VOCABULARY)
    out.add_token_types([gguf.TokenType.NORMAL] * VOCABULARY)

    def matrix(name, rows, columns):
        values = (random.standard_normal((rows, columns)) * 0.02).astype(numpy.float32)
        out.add_tensor(name, gguf.quants.quantize(values, KIND), raw_dtype=KIND)

    def norm(name):
        out.add_tensor(name, numpy.ones(HIDDEN, numpy.float32))

    matrix("token_embd.weight", VOCABULARY, HIDDEN)
    for i in range(LAYERS):
        norm(f"blk.{i}.attn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{i}.{part}.weight", HIDDEN, HIDDEN)
        norm(f"blk.{i}.ffn_norm.weight")
        matrix(f"blk.{i}.ffn_gate.weight", WIDE, HIDDEN)
        matrix(f"blk.{i}.ffn_up.weight", WIDE, HIDDEN)
        matrix(f"blk.{i}.ffn_down.weight", HIDDEN, WIDE)
    norm("output_norm.weight")
    matrix("output.weight", VOCABULARY, HIDDEN)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


llama.llama_backend_init()
folder = tempfile.TemporaryDirectory()
path = pathlib.Path(folder.name) / "random.gguf"
write(path)
model = llama.llama_model_load_from_file(os.fsencode(path), llama.llama_model_default_params())
assert model, "llama.cpp does not load what was written"
rows = PROMPTS * GROUP
settings = llama.llama_context_default_params()
settings.n_ctx = rows * (PROMPT + COMPLETION)
settings.n_batch = settings.n_ubatch = PROMPTS * PROMPT
settings.n_seq_max = rows
settings.kv_unified = True
settings.n_threads = settings.n_threads_batch = worker.THREADS
context = llama.llama_init_from_model(model, settings)
assert context, "llama.cpp makes no context of these settings"
memory = llama.llama_get_memory(context)
batch = llama.llama_batch_init(PROMPTS * PROMPT, 0, rows)


def feed(tokens):
    """`tokens`: (token, position, sequences, whether its logits are wanted)."""
    batch.n_tokens = len(tokens)
    for i, (token, position, sequences, wanted) in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, len(sequences), wanted
        for j, sequence in enumerate(sequences):
            batch.seq_id[i][j] = sequence
    assert llama.llama_decode(context, batch) == 0, "llama.cpp could not decode"


def logits(index):
    pointer = llama.llama_get_logits_ith(context, index)
    return numpy.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (VOCABULARY,))


def draw(index):
    """Samples at temperature 1, by the greatest of logits and Gumbel noise."""
    return int((logits(index) + random.gumbel(size=VOCABULARY).astype(numpy.float32)).argmax())


one = [int(t) for t in random.integers(1, VOCABULARY, PROMPT)]
prompts = [[int(t) for t in random.integers(1, VOCABULARY, PROMPT)] for _ in range(PROMPTS)]


def prefill():
    feed([(token, i, (0,), i + 1 == PROMPT) for i, token in enumerate(one)])


def decode():
    token = int(logits(PROMPT - 1).argmax())
    for i in range(COMPLETION - 1):
        feed([(token, PROMPT + i, (0,), True)])
        token = int(logits(0).argmax())


def roll_out():
    # A prompt is computed once and belongs to all sequences of its group.
    groups = [tuple(range(p * GROUP, (p + 1) * GROUP)) for p in range(PROMPTS)]
    feed([(token, i, groups[p], i + 1 == PROMPT) for p in range(PROMPTS) for i, token in enumerate(prompts[p])])
    drawn = [draw((row // GROUP + 1) * PROMPT - 1) for row in range(rows)]
    for i in range(COMPLETION - 1):
        feed([(token, PROMPT + i, (row,), True) for row, token in enumerate(drawn)])
        drawn = [draw(row) for row in range(rows)]


def measure():
    llama.llama_memory_clear(memory, True)
    yield "prefill_tokens_per_s", PROMPT / worker.seconds(prefill), "tokens/s", ""
    name = "decode1_bf16_tokens_per_s" if mode == "bf16" else "decode1_int8_tokens_per_s"
    yield name, (COMPLETION - 1) / worker.seconds(decode), "tokens/s", ""
    llama.llama_memory_clear(memory, True)
    yield "rollout_tokens_per_s", rows * COMPLETION / worker.seconds(roll_out), "tokens/s", ""


worker.serve(f"llama.cpp ({llama.__version__}) {mode}", measure)
