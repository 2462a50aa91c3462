"""A Hugging Face BERT from a local folder as the transformer of a masked language model.

    backbone: {name: bert_checkpoint, dim: 768, checkpoint: /path/to/bert-base-uncased}

The folder holds config.json, the weights, and vocab.txt. Nothing is downloaded. Needs the optional package
`transformers` (pip install -e '.[bert]').
"""

import json
from pathlib import Path

from torch import Tensor, nn

from splits.given import read_text
from splits.words.wordpieces import read_vocabulary, specials_first
from suite.errors import UserError

OPTIONS = {
    "dim": "required",  # d, the checkpoint's width
    "checkpoint": "required",  # its folder
}
ALLOWED = {
    "dim": {"type": "integer", "minimum": 1, "maximum": 65536},
    "checkpoint": {"type": "string"},
}
ARCHITECTURE = "bert"  # `model_type` of a config.json that can be read here
KEYS = ("hidden_size", "max_position_embeddings", "vocab_size")


def build(name: str, channels: int, **options) -> nn.Module:
    return BertCheckpoint(channels, **options)


class BertCheckpoint(nn.Module):
    """BERT's embeddings of position and its layers; `token_embedding` [V, d], special tokens first.

    channels: length of a row, one more than its sequence's. Before any weight is read, raises UserError for a
    folder that is no checkpoint, an architecture other than BERT, a width other than `dim`, and sequences
    longer than its positions; then for weights that cannot be read or are not BERT's, which would leave parts
    of it random; and when `transformers` is not installed.
    """

    def __init__(self, channels: int, dim: int, checkpoint: str):
        super().__init__()
        folder = Path(checkpoint).expanduser()
        check(folder, dim, channels - 1)
        try:
            from transformers import BertModel
        except ImportError as error:
            raise UserError(
                "backbone bert_checkpoint needs the package transformers: pip install -e '.[bert]'"
            ) from error
        try:
            model, found = BertModel.from_pretrained(
                folder, local_files_only=True, add_pooling_layer=False, output_loading_info=True
            )
        except Exception as error:  # of several libraries: no weights, cut off, other shapes
            raise UserError(f"{folder}: its weights cannot be read: {error}") from error
        if missing := sorted(found["missing_keys"]):
            raise UserError(
                f"{folder}: its weights are not those of a BERT: {len(missing)} parts are missing, first "
                f"{', '.join(missing[:3])}"
            )
        order = specials_first(read_text(folder / "vocab.txt").splitlines())
        self.dim = dim
        self.token_embedding = model.embeddings.word_embeddings.weight.detach()[order]
        model.embeddings.word_embeddings = nn.Embedding(1, dim)  # the head holds them now
        self.model = model

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x: float [n, L, d], embedded tokens; padding: bool [n, L], true where nothing stands."""
        out = self.model(inputs_embeds=x, attention_mask=(~padding).long())
        return out.last_hidden_state.float()


def check(folder: Path, dim: int, length: int) -> None:
    """Raise UserError unless `folder` holds a BERT of this width for sequences of this length."""
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} is no checkpoint: config.json is missing (backbone.checkpoint)")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise UserError(f"{file} is no configuration: it holds a {type(config).__name__}")
    if (found := config.get("model_type")) != ARCHITECTURE:
        raise UserError(
            f"{file} describes a {found!r} model; backbone bert_checkpoint reads {ARCHITECTURE!r}"
        )
    if lacking := [key for key in KEYS if not isinstance(config.get(key), int)]:
        raise UserError(f"{file} does not say {', '.join(lacking)}")
    width, longest = config["hidden_size"], config["max_position_embeddings"]
    if dim != width:
        raise UserError(f"backbone.dim is {dim}, but hidden_size of {file} is {width}")
    if length > longest:
        raise UserError(f"data.length is {length}, but max_position_embeddings of {file} is {longest}")
    if len(vocabulary := read_vocabulary(folder / "vocab.txt")) != config["vocab_size"]:
        raise UserError(
            f"{folder / 'vocab.txt'} has {len(vocabulary):,} pieces, but the checkpoint embeds "
            f"{config['vocab_size']:,}"
        )
