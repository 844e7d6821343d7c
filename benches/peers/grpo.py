"""A GRPO step with TRL's GRPOTrainer: grpo.py f32 | bf16.

Four prompts of 128 tokens, eight completions of 64 each, one update with a KL term; the reward is the share of odd
tokens, a stand-in that costs nothing, as in `visa bench`.
"""

import contextlib
import os
import sys
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import worker

torch, transformers, datasets, trl = worker.need("torch", "transformers", "datasets", "trl")
from shapes import COMPLETION, GROUP, PROMPT, PROMPTS, VOCABULARY, llama
from tokenizers import Tokenizer, models, pre_tokenizers

torch.set_num_threads(worker.THREADS)
torch.manual_seed(0)
mode = sys.argv[1]

words = {f"w{i}": i for i in range(VOCABULARY - 3)} | {"<pad>": VOCABULARY - 3, "<eos>": VOCABULARY - 2, "<unk>": VOCABULARY - 1}
base = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
base.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=base, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
)
config = llama()
config.eos_token_id, config.pad_token_id = VOCABULARY - 2, VOCABULARY - 3


def prompt(generator):
    return " ".join(f"w{int(i)}" for i in torch.randint(0, VOCABULARY - 3, (PROMPT,), generator=generator))


def reward(completions, **_):
    odd = lambda word: word[1:].isdigit() and int(word[1:]) % 2
    return [sum(map(bool, map(odd, text.split()))) / COMPLETION for text in completions]


class Finished(Exception):
    """There is no next turn."""


class Turns(transformers.TrainerCallback):
    """Waits for its turn before every step but the first, which is the warm-up."""

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 1:
            worker.ready(f"TRL {trl.__version__} {mode}")
        if state.global_step > 0 and not worker.wait():
            raise Finished
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        elapsed = time.perf_counter() - self.start
        if state.global_step > 1:
            worker.answer([("grpo_step_s", elapsed, "s", ""), ("grpo_step_s", ROLLOUTS.pop(), "s", "rollouts and scores alone")])


ROLLOUTS: list[float] = []

with tempfile.TemporaryDirectory() as folder:
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    generator = torch.Generator().manual_seed(1)
    data = datasets.Dataset.from_list([{"prompt": prompt(generator)} for _ in range(64)])
    settings = trl.GRPOConfig(
        output_dir=folder, use_cpu=True, bf16=mode == "bf16", per_device_train_batch_size=PROMPTS * GROUP,
        gradient_accumulation_steps=1, num_generations=GROUP, max_completion_length=COMPLETION, max_steps=10_000,
        learning_rate=1e-5, beta=0.04, report_to=[], save_strategy="no", temperature=1.0, gradient_checkpointing=False,
        generation_kwargs={"min_new_tokens": COMPLETION}, dataloader_pin_memory=False, disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"}, logging_strategy="no",
    )
    trainer = trl.GRPOTrainer(
        model=folder, reward_funcs=reward, args=settings, train_dataset=data, processing_class=tokenizer, callbacks=[Turns()]
    )
    roll_out = trainer._generate_and_score_completions

    def timed(*arguments, **options):
        start = time.perf_counter()
        result = roll_out(*arguments, **options)
        ROLLOUTS.append(time.perf_counter() - start)
        return result

    trainer._generate_and_score_completions = timed
    with contextlib.suppress(Finished):
        trainer.train()
