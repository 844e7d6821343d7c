#!/usr/bin/env python3
"""Runs `visa bench` and what a user would pick instead, in turns, and prints a Markdown table.

    benches/peers/run.py --python ENV/bin/python [--visa target/release/visa] [--only train,generate] [--rounds 5]

Needs nothing but Python itself; the peers run in the interpreter of --python. See README.md beside this file.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent

# A work: the names for `visa bench --only`, and the peers that do the same.
WORKS = {
    "train": ("train_tokens_per_s,train_peak_mb", ["train.py f32", "train.py bf16"]),
    # Compiling takes minutes.
    "compiled": ("train_tokens_per_s", ["train.py bf16-compiled"]),
    "generate": (
        "prefill_tokens_per_s,decode1_bf16_tokens_per_s,decode1_int8_tokens_per_s,rollout_tokens_per_s",
        ["generate.py f32", "generate.py bf16", "llama_cpp_peer.py bf16", "llama_cpp_peer.py q8_0"],
    ),
    "grpo": ("grpo_step_s", ["grpo.py f32", "grpo.py bf16"]),
    "embed": ("encoder24_texts_per_s,encoder128_texts_per_s", ["embed.py f32", "embed.py bf16"]),
    "kernels": ("kernels", ["matmul.py f32", "matmul.py bf16"]),
}
STANDARD = [work for work in WORKS if work != "compiled"]
# Less is better.
LESS = {"s", "MB"}


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


class Peer:
    """A peer in a process of its own, loaded and warm."""

    def __init__(self, python: str, call: str, environment: dict, log):
        script, *arguments = call.split()
        self.call, self.name, self.missing = call, call, None
        self.process = subprocess.Popen(
            [python, str(HERE / script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            text=True, env=environment,
        )
        answer = self.read()
        self.missing = answer.get("missing")
        self.name = answer.get("ready", call)

    def read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            return {"missing": f"it ended with {self.process.wait()}; see the log"}
        return json.loads(line)

    def turn(self) -> list[dict]:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        rows = []
        while "done" not in (answer := self.read()):
            if "missing" in answer:
                self.missing = answer["missing"]
                return []
            rows.append(answer)
        return rows

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def visa(program: str, only: str, threads: int, environment: dict) -> list[dict]:
    """One round of ours: a warm-up and a measurement of each, in a process of its own."""
    call = [program, "bench", "--json", "--rounds", "1", "--quiet", "--threads", str(threads), "--only", only]
    out = subprocess.run(call, stdout=subprocess.PIPE, check=True, text=True, env=environment).stdout
    return [json.loads(line) for line in out.splitlines()]


def digits(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def spread(values: list[float]) -> str:
    """Median, and the range if there is one."""
    text = digits(statistics.median(values))
    if len(values) > 1:
        text += f" ({digits(min(values))}–{digits(max(values))})"
    return text


def work(name: str, options, environment: dict, log) -> None:
    only, calls = WORKS[name]
    peers, skipped = [], []
    for call in calls:
        say(f"{name}: loading {call}")
        peer = Peer(options.python, call, environment, log)
        (skipped if peer.missing else peers).append(peer)
    ours: dict[str, list[dict]] = {}
    theirs: dict[tuple[str, str, str], list[float]] = {}
    for n in range(1, options.rounds + 1):
        say(f"{name}: round {n} of {options.rounds}")
        for row in visa(options.visa, only, options.threads, environment):
            ours.setdefault(row["name"], []).append(row)
        for peer in [p for p in peers if not p.missing]:
            for row in peer.turn():
                theirs.setdefault((row["name"], peer.name, row["how"]), []).append(row["value"])
            if peer.missing:
                skipped.append(peer)
    for peer in peers:
        peer.end()

    print(f"\n### {name}\n\n| measure | unit | visa | of peak | peer | figure | visa is |\n| --- | --- | --- | --- | --- | --- | --- |")
    for measure, rows in ours.items():
        values = [row["value"] for row in rows]
        shares = [row["share_of_peak"] for row in rows if "share_of_peak" in row]
        share = f"{statistics.median(shares):.0%}" if shares else ""
        start = f"| `{measure}` | {rows[0]['unit']} | {spread(values)} | {share} |"
        beside = [(peer, how, found) for (m, peer, how), found in theirs.items() if m == measure]
        if not beside:
            print(f"{start} | | |")
        for peer, how, found in beside:
            ratio = statistics.median(values) / statistics.median(found)
            ratio = 1 / ratio if rows[0]["unit"] in LESS else ratio
            better = "× less" if rows[0]["unit"] == "MB" else "× as fast"
            label = f"{peer}, {how}" if how else peer
            print(f"{start} {label} | {spread(found)} | {ratio:.2f}{better} |")
    for peer in skipped:
        print(f"\nSkipped: `{peer.call}`: {peer.missing}.")
    sys.stdout.flush()


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--python", default=sys.executable, help="interpreter of the peers [default: this one]")
    parse.add_argument("--visa", default=str(HERE.parents[1] / "target/release/visa"), help="the binary")
    parse.add_argument("--only", default=",".join(STANDARD), help="works, separated by commas [default: all but compiled]")
    parse.add_argument("--rounds", type=int, default=5, help="turns of each [default: 5]")
    parse.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="[default: all cores]")
    parse.add_argument("--log", default=os.devnull, help="a file for what the peers write to standard error")
    options = parse.parse_args()
    names = options.only.split(",")
    if unknown := [n for n in names if n not in WORKS]:
        parse.error(f"--only: unknown {', '.join(unknown)}; known are {', '.join(WORKS)}")
    if not pathlib.Path(options.visa).is_file():
        parse.error(f"{options.visa} is not there; build it by `cargo build --release` or name it by --visa")
    threads = str(options.threads)
    environment = os.environ | {
        "PEERS_THREADS": threads, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(HERE),
    }
    print(f"{platform.machine()}, {threads} threads, {options.rounds} rounds in turns; medians (lowest–highest).")
    with open(options.log, "w") as log:
        for name in names:
            work(name, options, environment, log)


if __name__ == "__main__":
    main()
