"""A journey with the real clients from PyPI: openai, litellm, trl, mcp. Each is skipped, and says so, when not installed.

Run by the test `clients`, or by hand: python clients.py http://127.0.0.1:8400 KEY
"""

import asyncio
import importlib.util
import os
import sys

TEXT = "You should wear a helmet because it keeps your children safe."
WISH = {"shift": {"conformity": 0.6, "security": -0.6}}
OUTCOMES = {"rewritten", "unchanged", "kept-original"}

base, key = sys.argv[1], sys.argv[2]
sys.path.insert(0, sys.argv[3] if len(sys.argv) > 3 else "python")
os.environ.update(VISA_REWARD_URL=f"{base}/reward", VISA_REWARD_KEY=key, NO_PROXY="127.0.0.1", HF_HUB_OFFLINE="1", LITELLM_LOCAL_MODEL_COST_MAP="True")


def check(found, wanted):
    if not wanted(found):
        raise AssertionError(repr(found))
    return found


def with_openai():
    import openai

    client = openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0, timeout=60)
    messages = [{"role": "user", "content": "Why a helmet?"}]
    ask = dict(model="local", messages=messages, max_tokens=8)
    check(client.models.list().data, lambda data: any(m.id == "visa-detector" for m in data))
    whole = client.chat.completions.create(**ask, n=2, extra_body={"visa": {"mode": "audit"}})
    check(whole.choices, lambda c: len(c) == 2)
    check(whole.usage.total_tokens, lambda n: n > 0)
    check(whole.model_extra["visa"]["outcome"], lambda o: o in {"measured", "untouched"})
    held = client.chat.completions.with_raw_response.create(**ask, extra_body={"visa": WISH})
    check(held.headers["x-visa-mode"], lambda m: m == "hold")
    check(held.parse().model_extra["visa"]["outcome"], lambda o: o in OUTCOMES | {"untouched"})
    for mode in ("hold", "audit", "off"):
        chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}, extra_body={"visa": {**WISH, "mode": mode}}))
        told = [c.model_extra["visa"] for c in chunks if "visa" in (c.model_extra or {})]
        check(told, lambda t: len(t) == (mode != "off"))
        check([c.usage for c in chunks if c.usage], lambda u: len(u) == 1)
        check([c.choices[0].finish_reason for c in chunks if c.choices][-1], lambda r: r in ("stop", "length"))
    text = client.completions.create(model="local", prompt="We share what", max_tokens=8, extra_headers={"x-visa-mode": "audit"})
    check(text.choices[0].text, lambda t: isinstance(t, str))
    try:
        openai.OpenAI(base_url=f"{base}/v1", api_key="wrong", max_retries=0).models.list()
    except openai.AuthenticationError as error:
        check(str(error), lambda e: "a key is needed" in e)
    else:
        raise AssertionError("a wrong key was let in")
    try:
        client.chat.completions.create(**ask, extra_body={"visa": {"profile": "nobody"}})
    except openai.NotFoundError as error:
        check(str(error), lambda e: "nobody" in e)
    else:
        raise AssertionError("an unknown profile was found")


def with_litellm():
    import litellm
    from litellm.proxy.guardrails.guardrail_hooks.generic_guardrail_api.generic_guardrail_api import GenericGuardrailAPI

    litellm.telemetry = False
    answer = litellm.completion(model="openai/local", api_base=f"{base}/v1", api_key=key, messages=[{"role": "user", "content": "Why?"}], max_tokens=8, num_retries=0, extra_body={"visa": {"mode": "audit"}})
    check(answer.choices[0].message.content, lambda t: t is None or isinstance(t, str))
    guardrail = GenericGuardrailAPI(api_base=base, api_key=key, guardrail_name="visa", event_hook="post_call", additional_provider_specific_params=WISH)

    async def both():
        texts = [TEXT, TEXT + " It is the law.", ""]
        after = await guardrail.apply_guardrail(inputs={"texts": texts}, request_data={"metadata": {"user_api_key_user_id": "ada"}}, input_type="response")
        check(after["texts"], lambda t: len(t) == len(texts) and all(isinstance(x, str) for x in t))
        before = await guardrail.apply_guardrail(inputs={"texts": texts}, request_data={}, input_type="request")
        check(before["texts"], lambda t: t == texts)

    asyncio.run(both())


def with_trl():
    from visa_reward import compute_score, visa_reward

    numbers = visa_reward([TEXT, [{"role": "assistant", "content": TEXT}]], prompts=["Why?", "Why?"], target=["security=1", "security=1"])
    check(numbers, lambda n: len(n) == 2 and abs(n[0] - n[1]) < 1e-4 and 0 <= n[0] <= 1)
    check(compute_score("d", TEXT, "security=1", {"question": "Why?"}), lambda n: abs(n - numbers[0]) < 1e-4)

    import datasets
    import tokenizers
    import transformers
    from trl import GRPOConfig, GRPOTrainer

    words = sorted(set(TEXT.split() + "why a helmet ? [PAD] [EOS] [UNK]".split()))
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", eos_token="[EOS]", unk_token="[UNK]")
    shape = transformers.LlamaConfig(vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id)
    data = datasets.Dataset.from_list([{"prompt": "why a helmet ?", "target": "security=1"}] * 2)
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(output_dir=folder, max_steps=1, per_device_train_batch_size=2, num_generations=2, max_completion_length=4, report_to=[], use_cpu=True, bf16=False, save_strategy="no")
        trainer = GRPOTrainer(model=transformers.LlamaForCausalLM(shape), reward_funcs=visa_reward, args=config, train_dataset=data, processing_class=tokenizer)
        trainer.train()
        logged = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    check(logged, lambda r: r and all(0 <= x <= 1 for x in r))


def with_mcp():
    import mcp

    async def talk():
        import httpx2 as http
        from mcp.client.streamable_http import streamable_http_client

        async with http.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as own:
            async with mcp.Client(streamable_http_client(f"{base}/mcp", http_client=own)) as client:
                tools = (await client.list_tools()).tools
                check({t.name for t in tools}, lambda names: names == {"detect_values", "rewrite_text", "score_rewrite"})
                found = await client.call_tool("detect_values", {"text": TEXT})
                check(found.structured_content, lambda c: len(c["values"]) == 10)
                outcome = await client.call_tool("rewrite_text", {"text": TEXT, **WISH})
                check(outcome.structured_content["outcome"], lambda o: o in OUTCOMES)
                failed = await client.call_tool("score_rewrite", {"original": TEXT, "candidate": TEXT})
                check(failed, lambda f: f.is_error and "nothing says where" in f.content[0].text)

    asyncio.run(talk())


failed = False
for name, journey in {"openai": with_openai, "litellm": with_litellm, "trl": with_trl, "mcp": with_mcp}.items():
    if importlib.util.find_spec(name) is None:
        print(f"{name}: skipped, not installed here; pip install {name}", flush=True)
        continue
    try:
        journey()
        print(f"{name}: done", flush=True)
    except Exception as error:
        import traceback

        traceback.print_exc()
        print(f"{name}: failed, {type(error).__name__}: {error}", flush=True)
        failed = True
sys.exit(failed)
