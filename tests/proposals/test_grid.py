"""Prompt-free proposals: which masks stay, how they are scored, and what comes out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fakes import FakeModel, blobs
from samadapt.data.rle import Rle
from samadapt.errors import AdapterError, ModelError, PromptError
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import DecoderOutput, PromptEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.proposals.grid import ProposalOptions, propose
from samadapt.proposals.points import coarse_and_fine, grid_points
from samadapt.proposals.suppression import suppress
from small_models import NAMES, tiny_model
from tiny_dataset import label_map, oracle
from toy_adapter import ToyAdapter


def stripe(start: int, stop: int) -> Rle:
    """A mask of 10 x 100 with these columns: its area is 10 per column."""
    mask = np.zeros((10, 100), np.bool_)
    mask[:, start:stop] = True
    return Rle.from_mask(mask)


STAIRS = ProposalOptions(points=2, offset=1.0)


class Stairs(FakeModel):
    """Answers every point with the left half, with logits that fall from left to right."""

    quality = 0.8

    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        h, w = self.logits_size(embedding)
        steps = torch.tensor([2.0] * (w // 4) + [0.5] * (w // 4) + [-0.5] * (w // 4))
        row = torch.cat([steps, torch.full((w - len(steps),), -2.0)])
        count = 3 if multimask else 1
        logits = row.expand(len(prompts.tokens), count, h, w)
        return DecoderOutput(logits, torch.full((len(prompts.tokens), count), self.quality))


class TestSuppression:
    def test_the_worse_of_two_alike_goes(self) -> None:
        # IoU of columns 0-10 and 2-12 is 8 / 12; of 0-10 and 5-15, 5 / 15.
        masks = [stripe(2, 12), stripe(0, 10), stripe(5, 15)]
        assert suppress(masks, [0.5, 0.9, 0.4], overlap=0.6) == [1, 2]
        assert suppress(masks, [0.5, 0.9, 0.4], overlap=0.7) == [1, 0, 2]
        assert suppress(masks, [0.5, 0.9, 0.4], overlap=0.3) == [1]

    def test_what_is_suppressed_suppresses_nothing(self) -> None:
        masks = [stripe(0, 10), stripe(3, 13), stripe(6, 16)]
        assert suppress(masks, [0.9, 0.8, 0.7], overlap=0.5) == [0, 2]

    def test_containment_counts_the_smaller_mask_whichever_is_better(self) -> None:
        inside, around = stripe(10, 20), stripe(0, 100)
        for scores in ([0.9, 0.5], [0.5, 0.9]):
            best = int(scores[1] > scores[0])
            assert suppress([inside, around], scores, 0.5, containment=0.8) == [best]
            assert suppress([inside, around], scores, 0.5) == [best, 1 - best]
        # 6 of 10 columns are shared: 0.6 of the smaller one.
        assert suppress([stripe(0, 10), stripe(4, 40)], [1, 0.5], 0.5, containment=0.61) == [0, 1]
        assert suppress([stripe(0, 10), stripe(4, 40)], [1, 0.5], 0.5, containment=0.59) == [0]

    def test_empty_masks_go_and_ties_keep_the_first(self) -> None:
        assert suppress([stripe(0, 0), stripe(0, 9), stripe(0, 10)], [1, 0.5, 0.5], 0.5) == [1]
        assert suppress([], [], 0.5) == []

    def test_no_more_than_asked_for(self) -> None:
        masks = [stripe(10 * k, 10 * k + 10) for k in range(4)]
        assert suppress(masks, [0.1, 0.4, 0.3, 0.2], 0.5, most=2) == [1, 2]


class TestGrid:
    def test_cells_are_equal_and_follow_the_shape(self) -> None:
        points = grid_points((100, 400), 8)
        assert len(points) == 4 * 16
        assert points[0] == (12.5, 12.5)
        assert points[-1] == (387.5, 87.5)

    def test_at_least_one_row(self) -> None:
        assert grid_points((1, 1000), 4)[0] == (1000 / 126 / 2, 0.5)
        assert grid_points((7, 7), 1) == [(3.5, 3.5)]

    @pytest.mark.parametrize(("size", "points"), [((40, 56), 16), ((100, 400), 8), ((7, 7), 1)])
    def test_coarse_and_fine_are_the_whole_grid(self, size: tuple[int, int], points: int) -> None:
        grid = grid_points(size, points)
        first, rest = coarse_and_fine(size, points)
        assert sorted(first + rest) == sorted(grid)
        columns, rows = (len({point[axis] for point in grid}) for axis in (0, 1))
        assert len(first) == -(-columns // 2) * -(-rows // 2)
        assert first[0] == grid[0]


class Knows(Seams):
    """Judges masks by their share of the decoder's grid: what is large is of its kind."""

    def __init__(self, likely: float = 0.8, large: float = 0.1) -> None:
        self.likely, self.large = likely, large

    def judge(self, masks: Tensor, embedding: ImageEmbedding) -> Tensor | None:
        share = masks.float().mean((1, 2))
        return torch.where(share > self.large, self.likely, 0.4 * self.likely)


class KnowsNothing(Seams):
    def judge(self, masks: Tensor, embedding: ImageEmbedding) -> Tensor | None:
        return None


class TestJudges:
    image = np.zeros((32, 32, 3), np.uint8)

    def scores(self, *adapters: Seams, **changes: Any) -> list[float]:
        model = Stairs()
        options = replace(STAIRS, **changes)
        return [one.score for one in propose(model, model.encode(self.image), adapters, options)]

    def test_one_that_knows_is_a_factor(self) -> None:
        assert self.scores(Knows(0.75)) == [pytest.approx(0.75 * 0.8 / 3)]
        assert self.scores(Seams(), Knows(0.75), KnowsNothing()) == [pytest.approx(0.2)]

    def test_none_or_two_that_know_change_nothing(self) -> None:
        for adapters in ((KnowsNothing(),), (Seams(),), (Knows(0.75), Knows(0.1))):
            assert self.scores(*adapters) == [pytest.approx(0.8 / 3)]

    def test_what_is_hardly_of_the_kind_goes_unless_it_is_wanted(self) -> None:
        assert self.scores(Knows(0.49)) == []
        assert self.scores(Knows(0.49), min_kind=0.4) == [pytest.approx(0.49 * 0.8 / 3)]
        assert self.scores(Knows(0.0), min_kind=0.0) == [0.0]
        assert self.scores(Knows(0.75), min_score=0.21) == []

    def test_the_kind_comes_before_who_suppresses_whom(self) -> None:
        model = oracle()
        found = propose(model, model.encode(blobs()), (Knows(large=0.07),))
        disc, square = (int((label_map() == label).sum()) for label in (1, 2))
        assert {disc, square} <= {one.rle.area for one in found}
        small = int((label_map() == 3).sum())
        everything = propose(
            model, model.encode(blobs()), (Knows(large=0.07),), ProposalOptions(min_kind=0)
        )
        assert small in {one.rle.area for one in everything}
        assert small not in {one.rle.area for one in found}

    def test_the_second_answer_is_judged_too(self) -> None:
        plain = self.scores(second_pass=True, candidates=False)
        judged = self.scores(Knows(0.75, -1), second_pass=True, candidates=False)
        assert judged == [pytest.approx(0.75 * score) for score in plain]


class TestPropose:
    def test_finds_every_object_of_a_model_that_knows_them(self) -> None:
        model = oracle()
        found = propose(model, model.encode(blobs()), (ToyAdapter(),))
        labels = label_map()
        for label in (1, 2, 3):
            assert any(np.array_equal(one.mask, labels == label) for one in found)
        assert len(found) == 4  # and the background

    def test_the_point_lies_in_the_mask_it_found_and_the_best_come_first(self) -> None:
        model = oracle()
        found = propose(model, model.encode(blobs()), (ToyAdapter(),))
        for one in found:
            assert one.mask[int(one.point[1]), int(one.point[0])]
        scores = [one.score for one in found]
        assert scores == sorted(scores, reverse=True)

    def test_the_score_is_quality_times_stability(self) -> None:
        # The mean magnitude is 1.25. Above that is a quarter of the columns, above -1.25 three.
        model = Stairs()
        image = np.zeros((32, 32, 3), np.uint8)
        (one,) = propose(model, model.encode(image), options=STAIRS)
        assert one.score == pytest.approx(0.8 / 3)
        np.testing.assert_array_equal(one.mask[:, :14], True)
        np.testing.assert_array_equal(one.mask[:, 18:], False)

    def test_padding_is_no_part_of_a_mask(self) -> None:
        # 32 x 16 in a square: the right half, which nothing shows, has the lower logits.
        model = Stairs()
        image = np.zeros((32, 16, 3), np.uint8)
        options = replace(STAIRS, max_area=1.0)
        (one,) = propose(model, model.encode(image), options=options)
        assert one.mask.all()
        assert one.score == pytest.approx(0.8 / 2)

    def test_the_second_pass_asks_at_the_inner_point_and_rewards_agreement(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, asked = Stairs(), []
        image = np.zeros((32, 32, 3), np.uint8)
        embedding = model.encode(image)
        plain = propose(model, embedding, options=STAIRS)[0]
        half = plain.mask.copy()
        half[: half.shape[0] // 2] = False

        def predict(
            embedding: ImageEmbedding, prompts: list[Prompt], *rest: object
        ) -> list[Prediction]:
            (prompt,) = prompts
            asked.append(prompt.points[0])
            logits = np.full((1, 16, 16), -3, np.float32)
            logits[:, :8] = 7  # mean magnitude 5: half of it is above 5, all of it above -5
            return [Prediction(half[None], np.full(1, 0.6, np.float32), logits)]

        monkeypatch.setattr(model, "predict", predict)
        options = replace(STAIRS, second_pass=True, candidates=False)
        (one,) = propose(model, embedding, options=options)
        (point,) = asked
        assert plain.mask[int(point[1]), int(point[0])]
        np.testing.assert_array_equal(one.mask, half)
        assert one.point == point
        agreement = half.sum() / plain.mask.sum()
        assert one.score == pytest.approx(math.sqrt(plain.score * 0.6 / 2) * agreement)

    def test_only_what_an_adapter_found_is_asked_for_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, asked = oracle(), []
        embedding, predict = model.encode(blobs()), model.predict

        def counted(
            embedding: ImageEmbedding, prompts: list[Prompt], *rest: object
        ) -> list[Prediction]:
            asked.extend(prompts)
            return predict(embedding, prompts, *rest)  # type: ignore[call-overload, no-any-return]

        monkeypatch.setattr(model, "predict", counted)
        propose(model, embedding)
        assert not asked
        found = propose(model, embedding, (ToyAdapter(),))
        assert len(asked) >= len(found) > 0
        asked.clear()
        propose(model, embedding, (ToyAdapter(),), ProposalOptions(second_pass=False))
        assert not asked

    def test_filters(self) -> None:
        model = oracle()
        embedding = model.encode(blobs())

        def areas(options: ProposalOptions) -> set[int]:
            return {one.rle.area for one in propose(model, embedding, (ToyAdapter(),), options)}

        disc, square, bar = (int((label_map() == label).sum()) for label in (1, 2, 3))
        assert {disc, square, bar} < areas(ProposalOptions())
        assert bar not in areas(ProposalOptions(min_area=bar + 1))
        assert disc in areas(ProposalOptions(min_area=disc))
        assert areas(ProposalOptions(max_area=0.5)) == {disc, square, bar}
        assert areas(ProposalOptions(min_score=1.0)) == set()
        assert len(areas(ProposalOptions(most=2))) == 2

    def test_a_coarse_look_finds_the_objects_with_fewer_questions(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model, asked = oracle(), []
        embedding, decode = model.encode(blobs()), model.decode

        def counted(embedding: ImageEmbedding, prompts: list[Prompt], *rest: Any) -> DecoderOutput:
            asked.extend(prompts)
            output = decode(embedding, prompts, *rest)
            return DecoderOutput(output.logits, torch.ones_like(output.scores))

        monkeypatch.setattr(model, "decode", counted)
        whole = propose(model, embedding, options=ProposalOptions(points=12))
        count = len(asked)
        asked.clear()
        coarse = propose(model, embedding, options=ProposalOptions(points=12, coarse=True))
        assert {one.rle for one in coarse} == {one.rle for one in whole}
        assert len({one.rle for one in whole}) == 4
        # No point in the disc and the square is asked a second time; the bar lies between the
        # rows of the first look.
        again = asked[len(coarse_and_fine((40, 56), 12)[0]) :]
        assert count // 2 < len(asked) < count
        assert {int(label_map()[int(y), int(x)]) for p in again for x, y in p.points} == {0, 3}

    def test_an_overview_is_searched_first_and_its_finds_again_in_full_resolution(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = oracle()
        embedding, small = model.encode(blobs()), model.encode(blobs())
        asked: dict[int, list[Prompt]] = {id(embedding): [], id(small): []}
        decode = model.decode

        def counted(view: ImageEmbedding, prompts: list[Prompt], *rest: Any) -> DecoderOutput:
            asked[id(view)].extend(prompts)
            return decode(view, prompts, *rest)

        monkeypatch.setattr(model, "decode", counted)
        whole = propose(model, embedding, options=ProposalOptions(points=12))
        asked[id(embedding)].clear()
        monkeypatch.setattr(model, "overview", lambda _: small)
        coarse = propose(model, embedding, options=ProposalOptions(points=12, coarse=True))
        assert {one.rle for one in coarse} == {one.rle for one in whole}
        assert len(asked[id(small)]) == len(grid_points((40, 56), 12))
        # Disc, square, bar and background once each: none of their masks is small.
        labels = [
            int(label_map()[int(y), int(x)]) for p in asked[id(embedding)] for x, y in p.points
        ]
        assert sorted(labels) == [0, 1, 2, 3]
        # With an overview that shows nothing, every point is asked in full resolution.
        asked[id(embedding)].clear()
        nothing = torch.full_like(decode(small, [Prompt([(1, 1)])], True, ()).logits, -1.0)

        def blind(view: ImageEmbedding, prompts: list[Prompt], *rest: Any) -> DecoderOutput:
            output = counted(view, prompts, *rest)
            if view is not small:
                return output
            return DecoderOutput(nothing.expand_as(output.logits), output.scores)

        monkeypatch.setattr(model, "decode", blind)
        again = propose(model, embedding, options=ProposalOptions(points=12, coarse=True))
        assert {one.rle for one in again} == {one.rle for one in whole}
        assert len(asked[id(embedding)]) == len(grid_points((40, 56), 12))

    def test_nano_s_overview_has_half_the_resolution(self) -> None:
        model = tiny_model("nano")
        embedding = model.encode(blobs())
        small = model.overview(embedding)
        assert small is not None
        assert small.geometry.original == embedding.geometry.original == (40, 56)
        assert max(small.geometry.resized) == max(embedding.geometry.resized) // 2
        left = {name: one for name, one in embedding.features.items() if name != "pixels"}
        assert model.overview(replace(embedding, features=left)) is None

    @pytest.mark.parametrize("name", NAMES)
    def test_every_family(self, name: str) -> None:
        model = tiny_model(name)
        options = ProposalOptions(points=3, most=5, min_area=1, max_area=1.0)
        found = propose(model, model.encode(blobs()), options=options)
        assert len(found) <= 5
        for one in found:
            assert one.mask.shape == (40, 56)
            assert 0 <= one.score <= 1

    def test_same_input_same_output(self) -> None:
        model = FakeModel()
        embedding = model.encode(blobs())
        assert propose(model, embedding) == propose(model, embedding)

    def test_the_boundary_seam_acts_on_what_comes_out(self) -> None:
        class Nothing(Seams):
            def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
                return torch.full_like(logits, -1)

        model = oracle()
        assert propose(model, model.encode(blobs()), (Nothing(),)) == ()

    def test_another_models_embedding_or_adapter(self) -> None:
        model, other = FakeModel(), FakeModel(1)
        with pytest.raises(ModelError, match="made by"):
            propose(model, other.encode(blobs()))
        adapter = ToyAdapter()
        adapter.bind(other)
        with pytest.raises(AdapterError, match="made for"):
            propose(model, model.encode(blobs()), (adapter,))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("points", 0),
            ("most", 0),
            ("min_area", 0),
            ("min_score", 1.5),
            ("min_kind", -0.1),
            ("overlap", -0.1),
        ],
    )
    def test_options_that_make_no_sense(self, name: str, value: float) -> None:
        with pytest.raises(PromptError, match=name.replace("_", " ")):
            ProposalOptions(**{name: value})  # type: ignore[arg-type]
