"""TFDS builders of the three kinds of records: files -> a dataset that `tfds.data_source` opens.

A corpus of one's own is a subclass, whose name is the dataset's (`my_corpus`):

    class MyCorpus(Documents):
        '''Court decisions.'''
        VERSION = tfds.core.Version("1.0.0")
        FILES = {"train": "decisions/*.jsonl.gz", "test": "later/*.jsonl.gz"}

    MyCorpus(data_dir=DIR).download_and_prepare()
    rows = tfds.data_source("my_corpus", split="train", data_dir=DIR)

`launch.prepare --config.documents=tfds:my_corpus` reads it, with `TFDS_DATA_DIR=DIR`. It is stored
as ArrayRecord, generated and read without TensorFlow; its records are those of
`vcjax.data.records`, where an empty text stands for a field that a record doesn't have.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from vcjax.data.files import Names
from vcjax.data.importers import Records
from vcjax.data.records import KINDS


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the three have in common.

    Attributes:
      KIND: of the records.
      FILES: by split, the files; see `vcjax.data.files`.
    """

    VERSION = tfds.core.Version("1.0.0")
    KIND: ClassVar[str]
    FILES: ClassVar[Mapping[str, Names]] = {}
    # Beside its code TFDS looks for checksums of downloads, by a package that it doesn't require.
    code_path = None

    def __init__(self, *, files: Mapping[str, Names] | None = None, **options: Any) -> None:
        """Args:
        files: in place of `FILES`.
        options: of TFDS, such as `data_dir`.
        """
        self._files = dict(self.FILES if files is None else files)
        super().__init__(**{"file_format": "array_record", **options})

    def _info(self) -> tfds.core.DatasetInfo:
        texts = tfds.features.Text()
        messages = tfds.features.Sequence({"role": texts, "content": texts})
        features = {
            name: messages if name == "messages" else texts
            for name in KINDS[self.KIND].field_names()
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__ or f"Records: {self.KIND}.",
            features=tfds.features.FeaturesDict(features),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        return {split: self._generate_examples(files) for split, files in self._files.items()}

    def _generate_examples(self, files: Names) -> Iterator[tuple[int, dict[str, Any]]]:
        names = KINDS[self.KIND].field_names()
        for number, record in enumerate(Records(files, self.KIND)):
            values = record.to_dict()
            yield number, {name: values.get(name, "") for name in names}


class Documents(_Builder):
    """Texts for continued pre-training."""

    KIND = "documents"


class Conversations(_Builder):
    """Messages for instruction tuning."""

    KIND = "conversations"


class Preferences(_Builder):
    """Messages with a better and a worse answer to them."""

    KIND = "preferences"
