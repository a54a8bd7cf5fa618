"""Adapters pinned to one session's turn answer as the adapters do, click consistency included."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from fakes import blobs
from samadapt.adapters.online import OnlineAdapter
from samadapt.adapters.task_prompt import TaskPromptAdapter, TaskPromptConfig
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.server.leases import SharedAdapters
from small_models import tiny_nano


def test_pinned_adapters_answer_as_the_adapters_do() -> None:
    model = tiny_nano()
    embedding = model.encode(blobs())
    task, online = TaskPromptAdapter(TaskPromptConfig(masks=16)), OnlineAdapter()
    for adapter in (task, online):
        adapter.bind(model)
    assert task.module is not None
    generator = torch.Generator().manual_seed(1)
    for parameter in task.module.parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    grid = itertools.product(range(4, 56, 8), range(4, 40, 8), (1, 0))
    prompts = [Prompt([(x + 0.5, y + 0.5)], [label]) for x, y, label in grid]
    for adapters in ((task, online), (online, task), (online,)):
        given: tuple[Seams, ...] = adapters
        expected = model.predict(embedding, prompts, adapters=given)
        found = model.predict(
            embedding,
            prompts,
            adapters=SharedAdapters().lease(given).answering(model, embedding),
        )
        for one, two in zip(expected, found, strict=True):
            np.testing.assert_allclose(one.logits, two.logits, rtol=1e-5, atol=1e-5)
        decoded = model.decode(embedding, prompts, adapters=given).logits.detach().numpy()
        given_way = [
            abs(p.logits - row).max() > 1e-3 for p, row in zip(expected, decoded, strict=True)
        ]
        assert any(given_way) == (task in given)
        assert not all(given_way)
