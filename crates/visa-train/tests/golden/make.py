"""What TRL computes for the losses and advantages of `visa_train::objective`.

    python -m venv env
    env/bin/pip install torch transformers trl datasets
    env/bin/python crates/visa-train/tests/golden/make.py

Writes `objectives.json` beside this script. TRL's own functions run, in double precision and on given log-probabilities:
`GRPOTrainer._compute_loss`, `DPOTrainer._compute_loss` and `CPOTrainer.cpo_loss` with a stand-in for the model, and a
whole `GRPOTrainer` step over a tiny model, whose rewards are read from a table, for the advantages.
"""

import collections
import itertools
import json
import os
import pathlib
import tempfile
import types

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import datasets
import torch
import transformers
import trl
from tokenizers import Tokenizer, models, pre_tokenizers
from trl.experimental.cpo import CPOTrainer

HERE = pathlib.Path(__file__).resolve().parent
LENS = [3, 5, 1, 4]
WIDTH, LIMIT = max(LENS), 6
MASK = torch.tensor([[1] * n + [0] * (WIDTH - n) for n in LENS])


def exact(shape, low, high, generator):
    """Random numbers that f32 holds exactly, so that both sides start from the same ones."""
    return (low + (high - low) * torch.rand(shape, generator=generator)).float().double()


def flat(x, mask=MASK):
    return [x[i, j].item() for i in range(x.shape[0]) for j in range(x.shape[1]) if mask[i, j]]


def accelerator():
    same = lambda x, **_: x
    return types.SimpleNamespace(num_processes=1, reduce=same, gather=same, gather_for_metrics=same, device="cpu")


def metrics():
    return collections.defaultdict(lambda: collections.defaultdict(list))


def grpo():
    cases = []
    generator = torch.Generator().manual_seed(3)
    names = {"token": "dapo", "sequence": "grpo", "constant": "dr_grpo"}
    for normalisation, beta, importance, fresh in itertools.product(names, (0.0, 0.3), (False, True), (False, True)):
        if beta == 0.0 and importance:
            continue
        now = exact(MASK.shape, -3, -0.1, generator)
        old = now + exact(MASK.shape, -0.5, 0.5, generator)
        old, reference = old.float().double(), exact(MASK.shape, -3, -0.1, generator)
        advantages = exact((len(LENS),), -2, 2, generator)
        leaf = now.clone().requires_grad_()
        trainer = types.SimpleNamespace(
            aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
            importance_sampling_level="token", beta=beta, loss_type=names[normalisation], epsilon_low=0.2,
            epsilon_high=0.28, use_vllm=False, model=types.SimpleNamespace(training=True),
            current_gradient_accumulation_steps=1, max_completion_length=LIMIT, _entropy_bonus_enabled=False,
            args=types.SimpleNamespace(use_bias_correction_kl=importance, delta=None, steps_per_generation=1),
            accelerator=accelerator(), _metrics=metrics(),
            _get_per_token_logps_and_entropies=lambda *_, **__: (leaf, -leaf.detach(), None),
        )
        inputs = {
            "prompt_ids": torch.zeros(len(LENS), 2, dtype=torch.long), "prompt_mask": torch.ones(len(LENS), 2),
            "completion_ids": torch.zeros(MASK.shape, dtype=torch.long), "completion_mask": MASK,
            "advantages": advantages, "ref_per_token_logps": reference, "num_items_in_batch": MASK.sum(),
        }
        if not fresh:
            inputs["old_per_token_logps"] = old
        loss = trl.GRPOTrainer._compute_loss(trainer, None, inputs)
        loss.backward()
        logged = {k: v[0] for k, v in trainer._metrics["train"].items() if k in ("kl", "entropy") or k.endswith("_mean")}
        cases.append({
            "normalisation": normalisation, "kl_weight": beta, "kl_importance": importance, "limit": LIMIT,
            "lens": LENS, "logprobs": flat(now), "old": None if fresh else flat(old), "reference": flat(reference),
            "advantages": advantages.tolist(), "loss": loss.item(), "gradient": flat(leaf.grad), "metrics": logged,
        })
    return cases


def preferences():
    """Answers are chosen, rejected, chosen, rejected; TRL wants all chosen ones first."""
    cases = []
    generator = torch.Generator().manual_seed(4)
    first = torch.tensor([0, 2, 1, 3])
    for beta, gamma in [(0.1, None), (1.5, None), (2.5, 1.375), (0.5, 0.0)]:
        now, reference = (exact(MASK.shape, -3, -0.1, generator) for _ in range(2))
        leaf = now.clone().requires_grad_()
        # Padding adds nothing to sums.
        sums = lambda x: (x * MASK).sum(1)[first].chunk(2)
        if gamma is None:
            # One position more than there are labels to predict.
            mask = torch.cat((torch.zeros(len(LENS), 1, dtype=torch.long), MASK), 1)[first]
            zeros = torch.zeros(len(LENS), WIDTH, dtype=torch.double)
            outputs = types.SimpleNamespace(
                log_probs=(leaf * MASK)[first], entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
            )
            chosen, rejected = sums(reference)
            trainer = types.SimpleNamespace(
                model=types.SimpleNamespace(training=True), accelerator=accelerator(), aux_loss_enabled=False, ld_alpha=None,
                precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_types=["sigmoid"], loss_weights=[1.0],
                beta=beta, use_weighting=False, _metrics=metrics(), _total_train_tokens=0, _tp_size=1,
            )
            inputs = {
                "completion_mask": mask, "input_ids": mask, "attention_mask": mask, "ref_chosen_logps": chosen,
                "ref_rejected_logps": rejected,
            }
            loss = trl.DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
        else:
            trainer = types.SimpleNamespace(
                alpha=0.0, loss_type="simpo", simpo_gamma=gamma, beta=beta, label_smoothing=0.0, accelerator=accelerator()
            )
            means = ((leaf * MASK).sum(1) / MASK.sum(1))[first].chunk(2)
            loss = CPOTrainer.cpo_loss(trainer, *means)[0].mean()
        loss.backward()
        cases.append({
            "beta": beta, "gamma": gamma, "lens": LENS, "logprobs": flat(now), "reference": flat(reference),
            "loss": loss.item(), "gradient": flat(leaf.grad),
        })
    return cases


def advantages():
    """Two groups of four completions, two terms; the second group's first term is the same throughout."""
    terms = [[0.1, 0.9, 0.4, 0.6, 0.5, 0.5, 0.5, 0.5], [2.0, -1.0, 0.5, 0.0, 1.0, 3.0, -2.0, 0.25]]
    weights = [1.0, 0.5]
    size, vocabulary = 4, 16
    base = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocabulary - 2)} | {"<pad>": 14, "<eos>": 15}))
    base.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=base, pad_token="<pad>", eos_token="<eos>", padding_side="left")
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        config = transformers.LlamaConfig(
            vocab_size=vocabulary, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            max_position_embeddings=32, eos_token_id=15, pad_token_id=14, bos_token_id=None,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        table = lambda k: lambda completions, **_: terms[k]
        for scale, aggregation in [
            ("group", "sum_then_normalize"), ("batch", "sum_then_normalize"), ("none", "sum_then_normalize"),
            ("batch", "normalize_then_sum"),
        ]:
            settings = trl.GRPOConfig(
                output_dir=folder, use_cpu=True, bf16=False, per_device_train_batch_size=8, num_generations=size,
                max_completion_length=4, max_steps=1, report_to=[], save_strategy="no", logging_strategy="no",
                scale_rewards=scale, multi_objective_aggregation=aggregation, reward_weights=weights, disable_tqdm=True,
            )
            trainer = trl.GRPOTrainer(
                model=folder, reward_funcs=[table(0), table(1)], args=settings, processing_class=tokenizer,
                train_dataset=datasets.Dataset.from_list([{"prompt": f"w{i} w1"} for i in range(2)]),
            )
            found = {}
            original = trainer._generate_and_score_completions

            def keep(inputs):
                found["made"] = original(inputs)
                found["metrics"] = {
                    k: v[0] for k, v in trainer._metrics["train"].items() if k in ("reward", "reward_std")
                }
                return found["made"]

            # Advantages are taken before TRL shuffles them.
            trainer._generate_and_score_completions = keep
            trainer.train()
            cases.append({
                "scale": scale, "aggregation": aggregation.replace("normalize", "normalise").replace("_", "-"),
                "terms": terms, "weights": weights, "groups": [size, size],
                "advantages": found["made"]["advantages"].tolist(), "metrics": found["metrics"],
            })
    return cases


def main():
    made = {"trl": trl.__version__, "grpo": grpo(), "preferences": preferences(), "advantages": advantages()}
    (HERE / "objectives.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
