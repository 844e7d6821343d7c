"""Tiny random models as Hugging Face directories, with what `transformers` computes of them.

    python -m venv env
    env/bin/pip install torch transformers peft
    env/bin/python crates/visa-nn/tests/golden/make.py [models/encoder]

Writes, beside this script: `bert/`, `llama-tied/`, `llama-untied/` (config.json, tokenizer.json,
model.safetensors), an adapter `llama-lora/` in PEFT's format, and `expected.safetensors` with
inputs and outputs; `chat.json` with rendered chat templates. With the path of the real encoder it also writes `minilm.json`: pooled embeddings
of a few sentences.
"""

import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, LlamaConfig, LlamaForCausalLM
from transformers.utils.chat_template_utils import render_jinja_template

HERE = pathlib.Path(__file__).resolve().parent
TEXTS = [
    "the cat sat on the mat, and the dog sat by the door.",
    "She said that tradition matters; he said that freedom matters more!",
    "Do not touch the 42 buttons: they are not yours.",
]


def scale_up(model: torch.nn.Module) -> None:
    """Default initialisation is so narrow that errors would hide below the tolerance."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1:
                p.normal_(0.0, 0.25)
            elif "norm" in name.lower() and name.endswith("weight"):
                p.uniform_(0.5, 1.5)
            else:
                p.normal_(0.0, 0.1)


def tokenizer(dir: pathlib.Path) -> int:
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=288,
        special_tokens=["<|begin|>", "<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tok.train_from_iterator(TEXTS, trainer)
    tok.save(str(dir / "tokenizer.json"))
    return tok.get_vocab_size()


def write(model, dir: pathlib.Path) -> None:
    dir.mkdir(exist_ok=True)
    (dir / "config.json").write_text(json.dumps(model.config.to_dict(), indent=1, default=str) + "\n")
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if v.is_floating_point()}
    if getattr(model.config, "tie_word_embeddings", False):
        tensors.pop("lm_head.weight", None)
    save_file(tensors, dir / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    torch.manual_seed(20)
    out: dict[str, torch.Tensor] = {}

    bert = HERE / "bert"
    bert.mkdir(exist_ok=True)
    vocab = tokenizer(bert)
    model = BertModel(
        BertConfig(
            vocab_size=vocab, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
            max_position_embeddings=24, type_vocab_size=2, attn_implementation="eager",
        ),
        add_pooling_layer=False,
    ).eval()
    scale_up(model)
    write(model, bert)
    ids = torch.randint(3, vocab, (3, 11))
    lens = torch.tensor([11, 4, 7])
    types = torch.zeros_like(ids)
    types[0, 5:] = 1
    types[2, 3:7] = 1
    mask = (torch.arange(11)[None] < lens[:, None]).long()
    with torch.no_grad():
        hidden = model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
    out |= {"bert.ids": ids.int(), "bert.types": types.int(), "bert.lens": lens.int(), "bert.hidden": hidden}

    for name, tied, heads, kv, head_dim, theta in [
        ("llama-tied", True, 4, 2, 8, 10000.0),
        ("llama-untied", False, 4, 1, 6, 500.0),
    ]:
        dir = HERE / name
        dir.mkdir(exist_ok=True)
        tokenizer(dir)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocab, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=heads,
                num_key_value_heads=kv, head_dim=head_dim, max_position_embeddings=48, rms_norm_eps=1e-5,
                rope_parameters={"rope_type": "default", "rope_theta": theta}, tie_word_embeddings=tied,
                bos_token_id=0, eos_token_id=1, pad_token_id=2, attn_implementation="eager",
            )
        ).eval()
        scale_up(model)
        write(model, dir)
        ids = torch.randint(3, vocab, (2, 9))
        lens = torch.tensor([9, 6])
        mask = (torch.arange(9)[None] < lens[:, None]).long()
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits
            greedy = model.generate(ids[:1, :5], max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=2)
        # Loss of predicting ids[:, 1:], the mean over the first row alone.
        with torch.no_grad():
            loss = model(input_ids=ids[:1], labels=ids[:1].long()).loss
        out |= {
            f"{name}.ids": ids.int(), f"{name}.lens": lens.int(), f"{name}.logits": logits,
            f"{name}.greedy": greedy[0].int(), f"{name}.loss": loss.reshape(1),
        }
        if tied:
            adapter(model, ids, mask, out)

    save_file({k: v.contiguous() for k, v in out.items()}, HERE / "expected.safetensors")
    chat()
    if len(sys.argv) > 1:
        minilm(pathlib.Path(sys.argv[1]))


def adapter(model, ids, mask, out) -> None:
    dir = HERE / "llama-lora"
    config = LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    peft = get_peft_model(model, config).eval()
    for name, p in peft.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, 0.0, 0.3)
    peft.save_pretrained(dir)
    (dir / "README.md").unlink(missing_ok=True)
    # PEFT keeps the targets in a set: sorted, so that the file is the same on every run.
    path = dir / "adapter_config.json"
    written = json.loads(path.read_text())
    written["target_modules"].sort()
    path.write_text(json.dumps(written, indent=1) + "\n")
    with torch.no_grad():
        out["llama-lora.logits"] = peft(input_ids=ids, attention_mask=mask).logits


# Written for this test, in the manner of the templates that models ship.
TEMPLATES = [
    """{% for message in messages %}
    {%- if loop.first and message['role'] != 'system' %}
        {{- bos_token }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}""",
    """{{ bos_token }}{% for m in messages %}
  {% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
    {{ raise_exception('roles must alternate') }}
  {% endif %}
  {% if m.role == 'user' %}
[INST] {{ m.content.strip().replace('  ', ' ') }} [/INST]
  {% else %}
{{ m.content.rstrip() + eos_token }}
  {% endif %}
{% endfor %}
{# a comment #}
{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + m.content | length %}{% if ns.n > 8 %}{% break %}{% endif %}{% endfor %}{{ ns.n }}""",
    """{%- for m in messages -%}{{ m | tojson }};{{ m['content'].split(' ')[-1].title() }}|{{ m.content.startswith('Hi') }}|{{ {'b': [1, 2.5, none, true], 'a': 'ü<&>'} | tojson(indent=2) }}
{% endfor %}{{ "%s-%02d" | format("x", 7) }} {{ messages | map(attribute='role') | join(',') }} {{ missing is defined }}""",
]


def chat() -> None:
    """What transformers renders from the templates above."""
    messages = [
        {"role": "user", "content": "Hi  <there> & you "},
        {"role": "assistant", "content": " 'Fine', thanks\n"},
        {"role": "user", "content": "über alles"},
    ]
    rows = []
    for template in TEMPLATES:
        for prompt in (False, True):
            rendered, _ = render_jinja_template(
                conversations=[messages], chat_template=template, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>"
            )
            rows.append({"template": template, "prompt": prompt, "messages": messages, "rendered": rendered[0]})
    (HERE / "chat.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def minilm(source: pathlib.Path) -> None:
    tok = AutoTokenizer.from_pretrained(source)
    # Expected values are those of the f16 weights computed in f32, which is what the crate does.
    model = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    texts = TEXTS + ["A naïve café owner — 50% off!"]
    rows = []
    for text in texts:
        enc = tok(text, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**enc).last_hidden_state[0]
        rows.append({
            "text": text, "ids": enc["input_ids"][0].tolist(),
            "mean": [round(x, 6) for x in hidden.mean(0)[:48].tolist()],
            "norm": hidden.mean(0).norm().item(),
        })
    pair = tok(TEXTS[0], TEXTS[1], return_tensors="pt")
    with torch.no_grad():
        hidden = model(**pair).last_hidden_state[0]
    rows.append({
        "text": TEXTS[0], "second": TEXTS[1], "ids": pair["input_ids"][0].tolist(),
        "mean": [round(x, 6) for x in hidden.mean(0)[:48].tolist()], "norm": hidden.mean(0).norm().item(),
    })
    (HERE / "minilm.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
