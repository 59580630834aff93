"""all-MiniLM-L6-v2 in numpy, for comparison only: a BERT encoder (Devlin et al. 2019), mean of its last layer, cut to
64 numbers by a fixed random projection (Johnson & Lindenstrauss 1984)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conduit.bandits.policy import Vector

LAYERS, HEADS, WIDTH = 6, 12, 384
MOST_TOKENS = 128
Floats = NDArray[np.float32]


class MiniLM:
    """`folder` holds model.safetensors and tokenizer.json. A text is read to its 128th token."""

    def __init__(self, folder: Path, size: int = 64) -> None:
        from safetensors.numpy import load_file  # type: ignore[import-not-found, unused-ignore]
        from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

        self._w: dict[str, Floats] = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._projection = np.random.default_rng(0).standard_normal((WIDTH, size)) / size**0.5

    def __call__(self, text: str) -> Vector:
        """(size,) of about unit length."""
        ids = self._tokenizer.encode(text).ids
        mean = self._encoded(np.array(ids)).mean(axis=0)
        return np.asarray((mean / np.linalg.norm(mean)) @ self._projection, float)

    def _encoded(self, ids: NDArray[np.intp]) -> Floats:
        """(tokens, WIDTH)."""
        w = self._w
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = self._normed(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}."
            x = self._normed(x + self._attended(x, at), at + "attention.output.LayerNorm")
            hidden = _gelu(self._linear(x, at + "intermediate.dense"))
            x = self._normed(x + self._linear(hidden, at + "output.dense"), at + "output.LayerNorm")
        return x

    def _attended(self, x: Floats, at: str) -> Floats:
        def heads(name: str) -> Floats:
            return self._linear(x, f"{at}attention.self.{name}").reshape(len(x), HEADS, -1).swapaxes(0, 1)

        q, k, v = heads("query"), heads("key"), heads("value")
        score = q @ k.swapaxes(1, 2) / np.float32(q.shape[2] ** 0.5)
        score = np.exp(score - score.max(axis=2, keepdims=True))
        mixed = (score / score.sum(axis=2, keepdims=True)) @ v
        return self._linear(mixed.swapaxes(0, 1).reshape(len(x), WIDTH), at + "attention.output.dense")

    def _linear(self, x: Floats, name: str) -> Floats:
        return np.asarray(x @ self._w[name + ".weight"].T + self._w[name + ".bias"])

    def _normed(self, x: Floats, name: str) -> Floats:
        x = x - x.mean(axis=1, keepdims=True)
        scale = np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-12)
        return np.asarray(x / scale * self._w[name + ".weight"] + self._w[name + ".bias"])


def _gelu(x: Floats) -> Floats:
    """By its tanh form (Hendrycks & Gimpel 2016), right to 1e-3."""
    return np.asarray(0.5 * x * (1.0 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))), np.float32)
