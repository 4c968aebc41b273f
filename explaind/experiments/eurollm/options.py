"""The whole configuration of the EuroLLM experiment: multilingual text, a Llama, checkpoints of its pretraining."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from explaind.config.fields import Count, Names, Part, Positive, Several, Text
from explaind.config.from_checkpoints import FromCheckpoints
from explaind.config.group import Group, Wrong
from explaind.config.shared import Architecture
from explaind.config.studies import Intervals, Languages, UpdateProportionality

__all__ = ["Llama", "MultilingualText", "Options"]


class TextSource(Group):
    """Where the text comes from."""

    kind: Literal["packages", "folder", "huggingface"] = Field(
        description="translations of two Debian packages, files <language>.txt of a folder, or a data set on the hub"
    )
    folder: Text | None = Field(description="of one <language>.txt each, with kind=folder")
    dataset: Text | None = Field(description="on the Hugging Face hub, with kind=huggingface")
    configuration: Text | None = Field(
        description="of the data set; {language} in it stands for a language's name"
    )
    split: Text = Field(description="of the data set")
    column: Text = Field(description="of the data set: where its text is")
    revision: Text | None = Field(description="of the data set; null: the newest")
    documents: Count = Field(description="of the data set: the first ones of each language")

    def wrong(self, whole: FromCheckpoints) -> Iterator[Wrong]:
        needed = {"folder": "folder", "huggingface": "dataset"}.get(self.kind)
        if needed and getattr(self, needed) is None:
            yield f"data.source.{needed}", f"a text with data.source.kind={self.kind}", None


class HeldoutText(Group):
    """Text that is not trained on."""

    kind: Literal["udhr", "share"] = Field(
        description="the Universal Declaration of Human Rights, or the last share of every language's own text"
    )
    share: Part = Field(description="share of a language's text, with kind=share")
    languages: Names = Field(description="of the held-out text, in the order of the figures")


class Tokenizer(Group):
    """From text to tokens."""

    kind: Literal["train", "file", "hub"] = Field(
        description="a byte-level BPE trained on the training text, or a tokenizer.json from a file or the hub"
    )
    file: Text | None = Field(description="a tokenizer.json, with kind=file")
    repository: Text | None = Field(description="on the hub, with kind=hub")
    revision: Text = Field(description="of the repository")
    vocabulary: Count = Field(description="tokens of a tokenizer that is trained")
    paragraphs: Count | None = Field(
        description="of each language that the tokenizer is trained on; null: all"
    )

    def wrong(self, whole: FromCheckpoints) -> Iterator[Wrong]:
        if self.vocabulary > whole.model.vocabulary:
            expected = f"at most model.vocabulary, {whole.model.vocabulary}"
            yield "data.tokenizer.vocabulary", expected, self.vocabulary
        if self.kind == "file" and self.file is None:
            yield "data.tokenizer.file", "the path of a tokenizer.json with data.tokenizer.kind=file", None
        if self.kind == "hub" and self.repository is None:
            yield "data.tokenizer.repository", "a repository on the hub with data.tokenizer.kind=hub", None
        if self.kind == "train" and whole.checkpoints.source != "trained":
            expected = "file or hub: the checkpoints' own tokenizer, as ids mean other tokens in a new one"
            yield "data.tokenizer.kind", expected, "train"


class MultilingualText(Group):
    """Text in many languages, as packed sequences of tokens."""

    name: Literal["multilingual_text"] = Field(description="which data; the other keys belong to it")
    source: TextSource
    languages: Names = Field(
        description="trained on: ISO 639-3 codes, or names of files; figures show them in this order"
    )
    heldout: HeldoutText
    tokenizer: Tokenizer
    context: Several = Field(description="tokens in a packed sequence")

    def wrong(self, whole: FromCheckpoints) -> Iterator[Wrong]:
        if whole.train.batch < len(self.languages):
            expected = f"at least one sequence of each of the {len(self.languages)} languages"
            yield "train.batch", expected, whole.train.batch


class Llama(Architecture):
    """Grouped-query attention, SwiGLU, RMSNorm, rotary positions, untied embeddings."""

    name: Literal["llama"]
    vocabulary: Count = Field(description="tokens that have an embedding")
    width: Count = Field(description="of the residual stream")
    hidden: Count = Field(description="width of the MLPs")
    layers: Count = Field(description="blocks")
    heads: Count = Field(description="query heads of a block, which share the width")
    key_value_heads: Count = Field(description="key and value heads of a block")
    rope_theta: Positive = Field(description="base of the rotary positions' wavelengths")
    rms_norm_eps: Positive = Field(description="added to the mean square in RMSNorm")
    initializer_range: Positive = Field(description="standard deviation of the initial weights")

    def wrong(self, whole: FromCheckpoints) -> Iterator[Wrong]:
        if self.width % self.heads or self.width // self.heads % 2:
            expected = f"an even multiple of model.heads, {self.heads}: positions rotate pairs"
            yield "model.width", expected, self.width
        if self.heads % self.key_value_heads:
            yield "model.heads", f"a multiple of model.key_value_heads, {self.key_value_heads}", self.heads


class Study(Group):
    """What the experiment ends in."""

    languages: Languages
    intervals: Intervals
    proportionality: UpdateProportionality


class Options(FromCheckpoints):
    """Pretraining of language models: one simulated update at each checkpoint."""

    data: MultilingualText
    model: Llama
    study: Study
