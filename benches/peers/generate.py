"""Prefill, decoding and rollouts of the decoder with transformers: generate.py f32 | bf16."""

import sys

import worker

torch, transformers = worker.need("torch", "transformers")
from shapes import COMPLETION, GROUP, PROMPT, PROMPTS, VOCABULARY, llama

torch.manual_seed(0)
torch.set_num_threads(worker.THREADS)
mode = sys.argv[1]
dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[mode]
model = transformers.LlamaForCausalLM(llama()).to(dtype).eval()


def generate(ids, tokens, **options):
    with torch.inference_mode():
        model.generate(
            ids, attention_mask=torch.ones_like(ids), min_new_tokens=tokens, max_new_tokens=tokens,
            eos_token_id=None, pad_token_id=0, use_cache=True, **options,
        )


one = torch.randint(1, VOCABULARY, (1, PROMPT))
# Every completion computes its prompt for itself: transformers knows no groups.
group = torch.randint(1, VOCABULARY, (PROMPTS, PROMPT)).repeat_interleave(GROUP, 0)
greedy = {"do_sample": False}
drawn = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


def measure():
    prefill = worker.seconds(lambda: generate(one, 1, **greedy))
    whole = worker.seconds(lambda: generate(one, COMPLETION, **greedy))
    yield "prefill_tokens_per_s", PROMPT / prefill, "tokens/s", ""
    yield "decode1_bf16_tokens_per_s", (COMPLETION - 1) / (whole - prefill), "tokens/s", ""
    prefill = worker.seconds(lambda: generate(group, 1, **drawn))
    whole = worker.seconds(lambda: generate(group, COMPLETION, **drawn))
    rows = PROMPTS * GROUP
    yield "rollout_tokens_per_s", rows * COMPLETION / whole, "tokens/s", ""
    yield "rollout_tokens_per_s", rows * (COMPLETION - 1) / (whole - prefill), "tokens/s", "without its prefill"


worker.serve(f"transformers {transformers.__version__} {mode}", measure)
