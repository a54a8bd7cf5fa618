"""`LabelStudioBackend`: answers Label Studio's prompts with brush masks, and learns from what is
submitted there.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from samadapt.clicks import next_click
from samadapt.data.label_studio import brush_to_mask
from samadapt.errors import DataError, SamadaptError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Prompt
from samadapt.server.label_studio_client import LabelStudioClient
from samadapt.server.label_studio_images import ImageFinder
from samadapt.server.label_studio_prompts import (
    Json,
    Mask,
    Said,
    Tags,
    brush_result,
    first_name,
    items,
    read_json,
    read_prompts,
    read_tags,
)
from samadapt.server.learning import Learning
from samadapt.server.leases import SharedAdapters
from samadapt.session.events import ImageReference
from samadapt.session.images import hash_pixels
from samadapt.session.session import Session
from samadapt.store.embeddings import EmbeddingStore

_LOG = logging.getLogger(__name__)
_KEPT = 500
_SETTLE_SECONDS = 60.0


class LabelStudioBackend:
    """A machine learning backend for Label Studio.

    Args:
        model: the model.
        learning: the adapters that learn.
        store: cache of embeddings on the disk.
        finder: finds the images of tasks.
    """

    def __init__(
        self,
        model: SegmentationModel,
        learning: Learning,
        store: EmbeddingStore,
        finder: ImageFinder,
    ) -> None:
        self._model, self.learning, self._store, self._finder = model, learning, store, finder
        self._shared = SharedAdapters()
        self._worker = ThreadPoolExecutor(1, "label-studio")
        self._closing = threading.Event()
        self._lock = threading.RLock()
        self._hashes: OrderedDict[str, str] = OrderedDict()
        self._prompts: OrderedDict[tuple[int, str, Said], None] = OrderedDict()
        self._learned: OrderedDict[str, None] = OrderedDict()

    @property
    def version(self) -> str:
        """Version that Label Studio shows: name of the model, and number of objects learned."""
        learned = sum(adapter.report().objects for adapter in self.learning.adapters)
        name = self._model.identity.name
        return f"samadapt-{name}" + (f"-{learned}" if learned else "")

    def predict(
        self, tasks: Sequence[Json], config: str, context: Json | None
    ) -> list[Json | list[Json]]:
        """Predict one brush mask from a person's prompts, for the first task.

        Without prompts (Label Studio's "Retrieve predictions"), every task gets an empty list of
        predictions: Label Studio would store empty masks.

        Args:
            tasks: tasks as Label Studio sends them.
            config: the labelling configuration (XML).
            context: holds the prompts as a list of results; None without prompts.

        Raises:
            DataError: the configuration has no brush, or the image cannot be found.
            SamadaptError: the prompts cannot be used.
        """
        tags = read_tags(config)
        results = items((context or {}).get("result"))
        if context is None or not tasks:
            return [[] for _ in tasks]
        task = tasks[0]
        said = read_prompts(results, tags)
        if said is None:
            return [{"result": [], "score": 0.0, "model_version": self.version}]
        embedding, _ = self._embedding(task, tags)
        session = self._session(embedding, None)
        mask = _told(session, said)
        score = 0.0 if session.prediction is None else float(session.prediction.scores.max())
        number = _number(task.get("id"))
        with self._lock:
            self._prompts[number, said.label, said] = None
            self._prompts.move_to_end((number, said.label, said))
            while len(self._prompts) > _KEPT:
                self._prompts.popitem(last=False)
        brush = brush_result(mask, said.label, tags, score)
        return [{"result": [brush], "score": score, "model_version": self.version}]

    def fit(self, task: Json, annotation: Json, config: str) -> int:
        """Learn from a submitted annotation; return the number of objects not learned before.

        Every brush mask is one object. Its prompts are those in the annotation, else those of an
        earlier `predict` for it, else one simulated click.
        """
        tags = read_tags(config)
        results = [r for r in items(annotation.get("result")) if isinstance(r, Mapping)]
        brushes = [r for r in results if r.get("type") == "brushlabels"]
        if not brushes:
            return 0
        embedding, pixels_hash = self._embedding(task, tags)
        count = 0
        for brush in brushes:
            value = read_json(brush.get("value"))
            if value.get("format") != "rle":
                continue
            mask = brush_to_mask(items(value.get("rle")), embedding.original_size)
            label = first_name(value.get("brushlabels")) or "object"
            if not mask.any() or not self._is_new(pixels_hash, label, mask):
                continue
            session = self._session(embedding, pixels_hash)
            held = read_prompts(results, tags, label)
            said = None if held is None else held.about(mask)
            _told(session, said or self._asked(task, label, mask) or _simulated(mask, label))
            _correct(session, mask)
            session.accept(label)
            count += 1
        return count

    def fit_project(self, project: int, config: str) -> None:
        """Learn in the background from all annotations of a Label Studio project.

        Raises:
            DataError: no address of Label Studio was given.
        """
        if self._finder.client is None:
            raise DataError(
                "training starts from the annotations at Label Studio: start `samadapt serve "
                "--label-studio` with its --url and --api-key"
            )
        client = self._finder.client
        self.later(lambda: self._fit_project(client, project, config))

    def later(self, work: Callable[[], int]) -> Future[int]:
        """Run work in the background, in the order of the calls."""
        return self._worker.submit(work)

    def wait(self) -> None:
        """Wait until all work in the background is done."""
        self.later(lambda: 0).result()

    def close(self) -> None:
        """Stop the work in the background, and save what was learned."""
        self._closing.set()
        self._worker.shutdown()
        self.learning.close()

    # -- private ------------------------------------------------------------------------------

    def _fit_project(self, client: LabelStudioClient, project: int, config: str) -> int:
        count = 0
        try:
            for task in client.annotated_tasks(project):
                for annotation in items(task.get("annotations")):
                    if self._closing.is_set():
                        return count
                    if isinstance(annotation, Mapping):
                        count += self._fit_or_tell(task, annotation, config)
        except SamadaptError as error:
            _LOG.warning("Label Studio, training: %s", error)
        except Exception:
            _LOG.exception("Label Studio, training: unexpected error")
        _LOG.info("Label Studio, training: %d new objects", count)
        return count

    def _fit_or_tell(self, task: Json, annotation: Json, config: str) -> int:
        try:
            count = self.fit(task, annotation, config)
            for adapter in self.learning.adapters:
                adapter.wait(_SETTLE_SECONDS)  # else waiting embeddings fill the memory
            return count
        except SamadaptError as error:
            _LOG.warning("Label Studio, task %s: %s", task.get("id"), error)
            return 0

    def _session(self, embedding: ImageEmbedding, content: str | None) -> Session:
        session = Session(self._model, self._shared.lease(self.learning.adapters))
        height, width = embedding.original_size
        reference = ImageReference(height, width, "label-studio", None, content)
        session.open(embedding=embedding, reference=reference)
        return session

    def _embedding(self, task: Json, tags: Tags) -> tuple[ImageEmbedding, str]:
        address = read_json(task.get("data")).get(tags.field)
        if not isinstance(address, str) or not address:
            raise DataError(f"the task has no {tags.field!r} in its data: it names the image")
        found = self._finder.find(address)
        with self._lock:
            content = self._hashes.get(found.stamp)
        if content is not None:
            known = self._store.get(self._model, content)
            if known is not None:
                return known, content
        with self._finder.pixels(found) as pixels:
            content = hash_pixels(pixels)
            known = self._store.get(self._model, content)
            if known is None:
                with self._lock:
                    known = self._model.encode(pixels)
                self._store.put(self._model, content, known)
        with self._lock:
            self._hashes[found.stamp] = content
            while len(self._hashes) > _KEPT:
                self._hashes.popitem(last=False)
        return known, content

    def _asked(self, task: Json, label: str, mask: Mask) -> Said | None:
        """Return the latest prompts predicted for a task that all agree with a mask, if any."""
        number = _number(task.get("id"))
        with self._lock:
            asked = [s for n, name, s in reversed(self._prompts) if (n, name) == (number, label)]
        return next((said for said in asked if said.about(mask) == said), None)

    def _is_new(self, content: str, label: str, mask: Mask) -> bool:
        """Return True the first time that an object is seen: annotations are sent repeatedly."""
        digest = hashlib.sha256(f"{content}\n{label}\n".encode() + np.packbits(mask).tobytes())
        key = digest.hexdigest()
        with self._lock:
            if key in self._learned:
                return False
            self._learned[key] = None
            while len(self._learned) > 100 * _KEPT:
                self._learned.popitem(last=False)
        return True


def _told(session: Session, said: Said) -> Mask:
    """Give a session all prompts, and return the mask (H, W)."""
    Prompt.from_clicks(said.clicks, said.box).check_inside(session.image_size)
    mask: Mask = np.zeros(session.image_size, np.bool_)
    if said.box is not None:
        mask = session.box(*said.box.as_tuple())
    for click in said.clicks:
        mask = session.click(click.x, click.y, click.positive)
    return mask


def _correct(session: Session, mask: Mask) -> None:
    """Paint and erase the pixels in which the session's mask differs from `mask` (H, W)."""
    shown = session.mask if session.mask is not None else np.zeros_like(mask)
    for part, positive in ((mask & ~shown, True), (shown & ~mask, False)):
        if part.any():
            session.paint(part, positive)


def _simulated(mask: Mask, label: str) -> Said:
    click = next_click(mask, np.zeros_like(mask))
    return Said((click,) if click is not None else (), None, label)


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
