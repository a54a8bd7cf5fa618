"""Which candidate a single click means, by the sizes of accepted objects."""

from __future__ import annotations

import numpy as np
import pytest

import samadapt
from fakes import blobs
from samadapt.adapters.online.adapter import OnlineAdapter
from samadapt.adapters.online.sizes import Sizes
from samadapt.models.candidates import Candidates, is_single_click
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.session.session import Session


def square(side: int) -> np.ndarray:
    mask = np.zeros((64, 64), np.bool_)
    mask[:side, :side] = True
    return mask


def candidates(*sides: int, scores: tuple[float, ...] | None = None, own: int = 0) -> Candidates:
    given = np.full(len(sides), 0.6, np.float32) if scores is None else np.float32(scores)
    return Candidates(np.stack([square(side) for side in sides]), given, own)


def after(count: int, side: int = 8, given: Candidates | None = None) -> Sizes:
    sizes = Sizes()
    for _ in range(count):
        sizes = sizes.learned(given or candidates(60, 8), square(side), 12)
    return sizes


def test_two_objects_give_sizes_and_two_more_give_trust() -> None:
    assert [after(count).are_trusted(12) for count in range(6)] == [False] * 4 + [True] * 2
    assert after(4).gains == pytest.approx([1 - 64 / 3600] * 2)
    assert after(1).areas == pytest.approx([np.log(64 / 4096)])


def test_the_candidate_of_the_usual_size_is_chosen() -> None:
    assert after(4).likeliest(candidates(60, 30, 9)) == 2
    assert after(4, 30).likeliest(candidates(60, 30, 9)) == 1


def test_the_models_own_choice_stays_where_it_is_as_likely() -> None:
    assert after(4).likeliest(candidates(9, 8)) == 0
    assert after(4).likeliest(candidates(9, 8, own=1)) == 1


def test_a_much_better_score_outweighs_size() -> None:
    assert after(4).likeliest(candidates(16, 8, scores=(0.95, 0.1))) == 0
    assert after(4).likeliest(candidates(60, 8, scores=(0.6, 0.5))) == 1


def test_sizes_that_mislead_lose_trust() -> None:
    """The own answer is right, whatever its size; the usual size is another candidate's."""
    sizes = after(6)
    assert sizes.are_trusted(12)
    for _ in range(12):
        sizes = sizes.learned(candidates(60, 8), square(60), 6)
        sizes = sizes.learned(None, square(8), 6)
    assert not sizes.are_trusted(6)


def test_only_the_last_objects_count() -> None:
    sizes = after(9)
    for _ in range(12):
        sizes = sizes.learned(None, square(32), 12)
    assert len(sizes.areas) == 12
    assert sizes.likeliest(candidates(60, 32, 8)) == 1


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (Prompt(points=[(3, 3)], labels=[1]), True),
        (Prompt(points=[(3, 3)], labels=[0]), False),
        (Prompt(points=[(3, 3), (5, 5)], labels=[1, 1]), False),
        (Prompt(points=[(3, 3)], labels=[1], box=(0, 0, 9, 9)), False),
        (Prompt(points=[(3, 3)], labels=[1], mask=np.zeros((4, 4), np.float32)), False),
        (Prompt(box=(0, 0, 9, 9)), False),
    ],
)
def test_one_click_on_an_object_and_nothing_else_is_ambiguous(
    prompt: Prompt, expected: bool
) -> None:
    assert is_single_click(prompt) == expected


class Chooser(Seams):
    """Always wants one candidate."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.asked: list[Candidates] = []

    @property
    def chooses(self) -> bool:
        return True

    def choose(self, candidates: Candidates) -> int | None:
        self.asked.append(candidates)
        return self.index


def test_a_model_answers_a_single_click_with_the_chosen_candidate() -> None:
    model = samadapt.load("nano")
    embedding = model.encode(blobs())
    click = Prompt(points=[(30, 30)], labels=[1])
    several = model.predict(embedding, click, multimask=True)
    single = model.predict(embedding, click)
    for index, expected in enumerate([single.masks[0], *several.masks]):
        chooser = Chooser(index)
        found = model.predict(embedding, click, adapters=[chooser])
        assert found.masks.shape[0] == 1
        assert (found.masks[0] == expected).all()
        assert len(chooser.asked[0].masks) == 4
        assert chooser.asked[0].own == 0
    chosen = model.predict(embedding, click, multimask=True, adapters=[Chooser(1)])
    assert (chosen.masks == several.masks).all()
    assert chosen.best == 1
    box = Prompt(box=(10, 10, 50, 50))
    plain = model.predict(embedding, box)
    assert (model.predict(embedding, box, adapters=[Chooser(2)]).masks == plain.masks).all()


def test_sizes_are_part_of_the_learned_state_and_older_states_have_none() -> None:
    model = samadapt.load("nano")
    adapter = OnlineAdapter()
    session = Session(model, [adapter])
    session.open(blobs())
    for x, y in ((30, 30), (12, 10)):
        session.click(x, y)
        session.accept()
    state = adapter.state_dict()
    assert len(state["0.sizes"]) == 2
    again = OnlineAdapter()
    again.load_state_dict(state)
    again.bind(model)
    assert (again.state_dict()["0.sizes"] == state["0.sizes"]).all()
    assert not again.chooses
    older = {name: t for name, t in state.items() if name not in ("0.sizes", "0.choices")}
    OnlineAdapter().load_state_dict(older)
