"""VISA as a reward: for TRL, verl, and anything else that calls a function. Standard library only, one file, copy it.

A server is needed: ``visa serve --target "benevolence=0.8"``. Environment: ``VISA_REWARD_URL`` (default
``http://127.0.0.1:8400/reward``), ``VISA_REWARD_KEY`` when the server wants a key, ``VISA_REWARD_PROFILE`` for a named
profile.

TRL::

    from visa_reward import visa_reward
    GRPOTrainer(model=..., reward_funcs=visa_reward, train_dataset=...)

verl::

    custom_reward_function.path=python/visa_reward.py custom_reward_function.name=compute_score

LlamaFactory needs no function: ``reward_model: http://127.0.0.1:8400/reward`` and ``reward_model_type: api``.
OpenRLHF neither: ``--remote_rm_url http://127.0.0.1:8400/get_reward``.

A completion's reward lies between 0 and 1: how near its values are to the target. Where the data set has a column
``original``, completions count as rewrites of it, and meaning and guards count too. A column ``target`` (a profile's name,
or text such as ``"tradition=0.8, power=-0.5"``) says where each should go. A failure raises: a made-up number would be
trained on.
"""

import json
import math
import os
import time
import urllib.error
import urllib.request

DEFAULT_URL = "http://127.0.0.1:8400/reward"
# The server takes lists of up to 1024; parts this long keep others' waits short.
PART = 256


class RewardError(RuntimeError):
    """The server gave no rewards."""


def rewards(completions, prompts=None, originals=None, labels=None, url=None, key=None, profile=None, timeout=300.0, tries=5):
    """One number a completion, in order. Lists beside ``completions`` have one entry each, or are None."""
    url = url or os.environ.get("VISA_REWARD_URL", DEFAULT_URL)
    key = key or os.environ.get("VISA_REWARD_KEY")
    profile = profile or os.environ.get("VISA_REWARD_PROFILE")
    columns = {"completions": completions, "prompts": prompts, "originals": originals, "labels": labels}
    columns = {name: list(column) for name, column in columns.items() if column is not None}
    count = len(columns["completions"])
    for name, column in columns.items():
        if len(column) != count:
            raise ValueError(f"{name} has {len(column)} entries for {count} completions")
    out = []
    for start in range(0, count, PART):
        body = {name: column[start : start + PART] for name, column in columns.items()}
        if profile:
            body["profile"] = profile
        part = _post(url, key, body, timeout, tries)
        wanted = len(body["completions"])
        if len(part) != wanted or not all(isinstance(x, (int, float)) and math.isfinite(x) for x in part):
            raise RewardError(f"{url} gave {len(part)} rewards for {wanted} completions, or something that is no number")
        out.extend(float(x) for x in part)
    return out


def visa_reward(completions, prompts=None, original=None, target=None, **_):
    """For TRL: a function of completions and the data set's columns. Conversations are read by their text."""
    return rewards(
        [_text(c) for c in completions],
        prompts=None if prompts is None else [_text(p) for p in prompts],
        originals=original,
        labels=target,
    )


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    """For verl: one completion. ``ground_truth`` is the target; ``extra_info`` may hold ``original`` and ``question``."""
    extra = extra_info or {}
    given = {"prompts": extra.get("question"), "originals": extra.get("original"), "labels": ground_truth or None}
    return rewards([solution_str], **{name: [value] for name, value in given.items() if value is not None})[0]


def _text(item):
    if isinstance(item, str):
        return item
    # A conversation: what its last message says.
    content = item[-1]["content"] if item else ""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def _post(url, key, body, timeout, tries):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = json.dumps(body).encode()
    for attempt in range(1, tries + 1):
        request = urllib.request.Request(url, data=data, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.load(answer)["rewards"]
        except urllib.error.HTTPError as error:
            words = error.read(2000).decode("utf-8", "replace")
            # A full server says when to come back; everything else will not pass by waiting.
            if error.code not in (429, 503) or attempt == tries:
                raise RewardError(f"{url} answered {error.code}: {words}") from error
            wait = float(error.headers.get("Retry-After") or attempt)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            if attempt == tries:
                raise RewardError(f"{url} cannot be reached: {error}; is `visa serve` running?") from error
            wait = attempt
        time.sleep(min(wait, 30.0))
    raise RewardError(f"{url} gave nothing in {tries} tries")
