"""The shapes of `visa bench --size standard`: change both or neither."""

LAYERS, HIDDEN, HEADS, WIDE, VOCABULARY = 12, 384, 6, 1024, 8192
TRAIN_ROWS, TRAIN_LENGTH = 16, 256
PROMPT, COMPLETION, PROMPTS, GROUP = 128, 64, 4, 8
TEXTS = 64
KERNEL_ROWS = 4096


def llama():
    """The decoder for transformers."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=WIDE, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=2048, rms_norm_eps=1e-5,
        tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )
