from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fakes import FakeModel, OracleModel, blobs
from samadapt.adapters.online.domains import Domain, DomainBook
from samadapt.adapters.online.evidence import Evidence, first_answers, mean_gain
from samadapt.adapters.online.optimiser import Moments
from samadapt.adapters.online.settings import GuardSettings
from samadapt.models.signature import Signature
from samadapt.prompts import Prompt

GUARD = GuardSettings(evidence=6)


def after(*gains: float, guard: GuardSettings = GUARD) -> list[bool]:
    """Whether it is trusted after each gain."""
    evidence, found = Evidence(), []
    for gain in gains:
        evidence = evidence.with_gain(gain, guard)
        found.append(evidence.trusted)
    return found


# -- evidence -------------------------------------------------------------------------------


def test_with_depths_the_first_prompt_has_to_be_won_first() -> None:
    guard = GuardSettings(evidence=6, depths=True)
    assert Evidence().answers(GUARD)
    assert not Evidence().answers(guard)
    assert after(0.1, 0.1, -0.1, guard=guard) == [False, True, True]
    assert after(0.3, -0.1, -0.1, 0.1, 0.1, guard=guard) == [False, False, False, False, True]
    # States that were saved with evidence keep their trust.
    assert Evidence(gains=(0.1,)).answers(guard)


def test_lost_is_what_was_used_before() -> None:
    guard = GuardSettings(evidence=6, depths=True)

    def has_lost(*gains: float, guard: GuardSettings) -> bool:
        evidence = Evidence()
        for gain in gains:
            evidence = evidence.with_gain(gain, guard)
        return evidence.has_lost(guard)

    assert not has_lost(guard=GUARD)
    assert has_lost(-0.1, -0.1, guard=GUARD)
    assert not has_lost(-0.1, -0.1, -0.1, guard=guard)  # never better, never used
    assert not has_lost(0.1, 0.1, guard=guard)
    assert has_lost(0.1, 0.1, -0.3, -0.3, -0.3, guard=guard)


def test_trust_goes_with_losses_and_comes_back_with_gains() -> None:
    assert after(0.1, 0.1, 0.1) == [True, True, True]
    assert after(-0.1, -0.1) == [True, False]
    assert after(-0.1, -0.1, 0.1, 0.1, 0.1)[-1]
    assert not after(-0.1, -0.1, 0.0)[-1]


def test_one_object_or_a_loss_within_the_noise_decides_nothing() -> None:
    assert after(-0.3) == [True]
    assert after(-0.05, 0.04, -0.05, 0.04, -0.05, -0.01) == [True] * 6
    assert after(-0.05, 0.04, -0.05, -0.05, -0.05) == [True] * 3 + [False] * 2


def test_one_bad_mask_among_good_ones_changes_nothing() -> None:
    for place in range(1, 5):
        gains = [0.05] * 5
        gains[place] = -1.0
        assert after(*gains) == [True] * 5
    # Nor does one lucky mask save what does harm.
    assert not any(after(-0.1, -0.1, 1.0, -0.1)[1:])


def test_old_evidence_is_forgotten() -> None:
    # A window of 3 makes each gain count half as much as the next one.
    mean, error = mean_gain((0.1, 0.0), 3)
    assert mean == pytest.approx(0.1 / 3)
    # Weights 1/3 and 2/3 are worth 9/5 objects; variance 1/3 (1/15)^2 + 2/3 (1/30)^2 = 1/450.
    assert error == pytest.approx((1 / 450 / (9 / 5 - 1)) ** 0.5)
    assert mean_gain((0.1,), 3) == (0.1, float("inf"))
    assert mean_gain((), 3) == (0, 0)
    evidence = Evidence(gains=(0.2,) * 6)
    assert evidence.with_gain(0.0, GUARD).gains == (0.2,) * 5 + (0.0,)


def test_gains_far_from_the_median_are_cut() -> None:
    # Median 0.1, deviations 0.1, 0, 0, 0.1 and 0.9: the median of them is 0.1.
    cut = 0.1 + 3 * 1.4826 * 0.1
    equal = [mean_gain((0.0, 0.1, 0.1, 0.2, last), 10**9)[0] for last in (1.0, cut)]
    assert equal[0] == pytest.approx(equal[1])
    # More than half are alike: 1.2533 times the mean deviation, 0.04.
    assert mean_gain((0.0, 0.0, 0.0, 0.0, 0.2), 10**9)[0] == pytest.approx(
        3 * 1.2533 * 0.04 / 5, rel=1e-6
    )


def test_a_mask_of_another_object_is_an_outlier_unless_that_is_usual() -> None:
    evidence = Evidence()
    assert not evidence.is_outlier(0.49)  # a corrected mask of the same object
    assert evidence.is_outlier(0.51)
    for surprise in (0.1, 0.9, 0.9):
        evidence = evidence.with_surprise(surprise, GUARD)
    assert not evidence.is_outlier(1.0)
    for _ in range(6):
        evidence = evidence.with_surprise(0.0, GUARD)
    assert evidence.surprises == (0.0,) * 6
    assert evidence.is_outlier(0.6)


def test_the_score_is_the_iou_after_one_and_two_clicks() -> None:
    labels = np.zeros((20, 30), np.int_)
    labels[2:8, 2:12], labels[10:18, 5:25] = 1, 2
    model = OracleModel(labels)
    embedding = model.encode(np.zeros((20, 30, 3), np.uint8))
    accepted = labels == 2
    assert first_answers(model, embedding, Prompt([(10, 12)]), accepted, ()) == (1.0, 1.0)
    # Wrong object first, the right one at the next click, into the middle of what is missing.
    assert first_answers(model, embedding, Prompt([(4, 4)]), accepted, ()) == (0.0, 1.0)


# -- domains --------------------------------------------------------------------------------


def signature(mean: float, deviation: float = 1.0) -> Signature:
    return Signature(torch.full((4,), float(mean)), torch.full((4,), float(deviation)))


def opened(*means: float, most: int = 3, distance: float = 1.0) -> list[int]:
    """Number of the domain in use after opening each image."""
    book, found = DomainBook(), []
    for mean in means:
        book = book.opening(signature(mean), most, distance)
        found.append(book.current)
    return found


def test_distances_are_measured_in_deviations() -> None:
    assert signature(0).distance(signature(3)) == pytest.approx(3)
    assert signature(0, 2).distance(signature(3, 4)) == pytest.approx(1)
    mixed = Signature(torch.tensor([0.0, 2.0]), torch.ones(2))
    assert mixed.distance(Signature(torch.zeros(2), torch.ones(2))) == pytest.approx(2**0.5)


def test_a_signature_leaves_padding_out(fake_model: FakeModel) -> None:
    image: NDArray[np.uint8] = np.full((16, 32, 3), 200, np.uint8)
    found = Signature.of(fake_model.encode(image))
    torch.testing.assert_close(found.mean[:3], torch.full((3,), 200 / 255))
    torch.testing.assert_close(found.deviation[:3], torch.zeros(3))


def test_signatures_are_averaged() -> None:
    joined = signature(0).joined(signature(2)).joined(signature(4))
    torch.testing.assert_close(joined.mean, torch.full((4,), 2.0))
    assert joined.images == 3
    assert joined.spread == pytest.approx((2 + 3) / 2)


def test_other_images_open_another_domain_and_the_first_is_found_again() -> None:
    assert opened(0, 0.3, 5, 5.2, 0.1, 5.1, -4) == [0, 0, 1, 1, 0, 1, 2]


def test_a_kind_of_images_that_varies_is_one_domain() -> None:
    means = [0, 0.9, -0.5, 1.0, -1.0, 1.9, -1.6]
    assert opened(*means) == [0] * len(means)
    assert opened(0, 0.01, -0.01, 1.4)[-1] == 1


def test_the_reach_of_a_domain_goes_from_the_prior_to_its_own_spread() -> None:
    one = signature(0)
    assert one.reach(1.0) == 1.0
    assert one.joined(signature(2)).reach(1.0) == pytest.approx((1 + 2 * 2) / 2)
    alike = one
    for _ in range(19):
        alike = alike.joined(signature(0))
    assert alike.reach(1.0) == pytest.approx(1 / 20)


def test_the_domain_not_used_for_longest_makes_room() -> None:
    # 0 and 5 are known, 10 is new; 0 comes back in between, so 5 goes.
    assert opened(0, 5, 0, 10, 5, most=2) == [0, 1, 0, 2, 3]


def test_one_domain_takes_everything() -> None:
    assert opened(0, 50, -50, most=1) == [0, 0, 0]


def test_a_new_domain_begins_at_the_base_and_keeps_the_others_as_they_were() -> None:
    learned = Domain(0, torch.ones(3), Moments(torch.ones(3), torch.ones(3), 4), accepted=9)
    book = DomainBook((learned,)).opening(signature(0), 3, 1.0)
    assert book.active.moments.steps == 4
    book = book.opening(signature(9), 3, 1.0)
    assert (book.active.delta, book.active.accepted) == (None, 0)
    assert book.find(0).moments.steps == 0  # optimisers rest: memory stays bounded
    book = book.opening(signature(0.1), 3, 1.0)
    assert book.active.delta is learned.delta
    assert book.active.accepted == 9


def test_blobs_are_one_domain_whatever_their_size(fake_model: FakeModel) -> None:
    a, b = (Signature.of(fake_model.encode(blobs(h, w))) for h, w in ((40, 56), (38, 60)))
    assert a.distance(b) < 0.3
