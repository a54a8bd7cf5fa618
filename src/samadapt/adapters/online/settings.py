"""Settings of online adaptation, and the shipped presets, one JSON file each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from typing import Any, Literal, get_args

from samadapt.adapters.online.optimiser import Descent
from samadapt.adapters.online.retired import without_retired
from samadapt.errors import AdapterError
from samadapt.models.signature import REACH_OF_ONE
from samadapt.spelling import did_you_mean

ClickLoss = Literal["none", "sparse", "gaussian", "distill"]

DEFAULT = "default"
OBJECTS = ("new", "replay")
PROMPTS = ("first", "all", "last", "any", "corrected")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickSettings:
    """Settings of learning while an object is being clicked.

    Attributes:
        loss: "sparse" for cross-entropy at the clicks (Schön et al.), "gaussian" for
            cross-entropy around them (OAIMS), "distill" for the sparse loss plus distillation of
            the prediction with the new click into the one without it (DC-TTA), or "none".
        steps: optimisation steps after each click.
        rate: learning rate.
        anchor: pull towards the base weights, see `Descent`.
        sigma: radius of the Gaussian loss, in original pixels.
        distillation: weight of the self-distillation.
        units: learn separate weights for clicks whose masks do not overlap, and merge them.
        merge: factor of the sum of the units' changes, if there are several.
        keep: keep the change by the clicks when the object is accepted, instead of restoring the
            weights from before the object.
        last: number of the last prompt of an object that is answered with the change by its
            clicks, and for which they are learned; 0 for no limit.
        again: number of the prompt from which on clicks are learned anew, from no change, for
            objects that are still not finished then; 0 for never.
    """

    loss: ClickLoss = "sparse"
    steps: int = 1
    rate: float = 1e-5
    anchor: float = 0.0
    sigma: float = 3.0
    distillation: float = 1.0
    units: bool = False
    merge: float = 0.7
    keep: bool = False
    last: int = 0
    again: int = 0

    def __post_init__(self) -> None:
        _one_of("click.loss", self.loss, get_args(ClickLoss))
        _at_least("click", 0, steps=self.steps, merge=self.merge)
        _at_least("click", 0, anchor=self.anchor, distillation=self.distillation, last=self.last)
        if self.again and not 0 < self.last < self.again - 1:
            raise AdapterError(
                f"click.again={self.again}: use 0, or more than click.last + 1 with click.last > 0"
            )
        _above("click", 0, rate=self.rate, sigma=self.sigma)

    @property
    def descent(self) -> Descent:
        """The optimiser's step."""
        return Descent(self.rate, self.anchor)

    def answers(self, number: int) -> bool:
        """Return True if the n-th prompt of an object, from 1 on, uses the change by its clicks."""
        return not 0 < self.last < number or 0 < self.again <= number


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptSettings:
    """Settings of learning from an accepted object.

    Attributes:
        steps: examples of each optimisation step, in order, as "object.prompt" or several of
            them joined by "+" (their losses are summed). Objects: "new", the one just accepted,
            and "replay", a random earlier one (skipped while there is none). Prompts: "first" as
            sent, "all" clicks at once, "last" as sent, "any" for a random one of these, and
            "corrected" for the first prompt with its predicted mask and one generated click per
            error.
        rate: learning rate.
        decay: the rate is divided by sqrt(1 + decay * objects accepted before).
        keep_moments: keep Adam's running means from object to object.
        anchor: pull towards the base weights, see `Descent`.
        entropy: weight of the balanced cross-entropy.
        focal: weight of the normalised focal loss.
        dice: weight of the Dice loss.
        clicks: weight of the sparse loss at the object's clicks.
        erosion: iterations of a 3x3 cross, see `pseudo_labels.eroded`.
        erosion_share: largest share of the object's (or background's) depth that is eroded.
        errors: largest number of generated clicks in a "corrected" prompt.
    """

    steps: tuple[str, ...] = ("new.first",)
    rate: float = 1e-5
    decay: float = 0.0
    keep_moments: bool = False
    anchor: float = 0.0
    entropy: float = 1.0
    focal: float = 0.0
    dice: float = 0.0
    clicks: float = 0.0
    erosion: int = 4
    erosion_share: float = 0.5
    errors: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        _at_least("accept", 0, decay=self.decay, anchor=self.anchor, erosion=self.erosion)
        _at_least("accept", 0, entropy=self.entropy, focal=self.focal)
        _at_least("accept", 0, dice=self.dice, clicks=self.clicks)
        _at_least("accept", 1, errors=self.errors)
        _above("accept", 0, rate=self.rate)
        if not 0 <= self.erosion_share < 1:
            raise AdapterError(f"accept.erosion_share={self.erosion_share}: use 0 <= share < 1")
        _check_steps("accept", self.steps)

    @property
    def descent(self) -> Descent:
        """The optimiser's step."""
        return Descent(self.rate, self.anchor)

    @property
    def parts(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """The (object, prompt) pairs that each step learns."""
        return _parts(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipSettings:
    """Settings of learning from skipped objects, whose clicks are still correct.

    Attributes:
        steps: examples of each step, as in `AcceptSettings`.
        clicks: weight of the sparse loss at the clicks.
        mask: weight of the mask loss towards the last mask, eroded and overridden by the clicks.
        least_clicks: number of clicks below which an object is not learned. An object whose last
            mask contradicts more than a quarter of its clicks is not learned either.
        replay: keep the object for replay as if it had been accepted.
    """

    steps: tuple[str, ...] = ()
    clicks: float = 1.0
    mask: float = 0.0
    least_clicks: int = 6
    replay: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        _at_least("skip", 0, clicks=self.clicks, mask=self.mask)
        _at_least("skip", 1, least_clicks=self.least_clicks)
        _check_steps("skip", self.steps)

    @property
    def parts(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """The (object, prompt) pairs that each step learns."""
        return _parts(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """Settings of the replay memory of accepted objects.

    Attributes:
        objects: number of objects kept per domain; 0 for none.
        megabytes: memory for their embeddings in all domains; older ones move to the disk.
        disk_megabytes: disk space for them; beyond it the oldest are dropped.
    """

    objects: int = 5
    megabytes: int = 256
    disk_megabytes: int = 1024

    def __post_init__(self) -> None:
        _at_least("replay", 0, objects=self.objects, disk_megabytes=self.disk_megabytes)
        _at_least("replay", 1, megabytes=self.megabytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """Settings that keep adaptation from doing harm.

    Attributes:
        evidence: number of the last accepted objects on which the adapted and the frozen decoder
            are compared (see `Evidence`); 0 for no comparison.
        reject_outliers: do not learn accepted masks that look like mistakes, see
            `Evidence.is_outlier`.
        depths: evaluate first and later prompts of an object apart, and answer each with the
            adapted decoder only once it has been better there (see `depths`); needs `evidence`.
        domains: largest number of domains; 1 for no distinction between kinds of images.
        distance: distance up to which an image belongs to a domain of one image, in standard
            deviations of the features within an image; see `Signature.reach`.
    """

    evidence: int = 12
    reject_outliers: bool = True
    depths: bool = False
    domains: int = 6
    distance: float = REACH_OF_ONE

    def __post_init__(self) -> None:
        _at_least("guard", 0, evidence=self.evidence)
        _at_least("guard", 1, domains=self.domains)
        _above("guard", 0, distance=self.distance)
        if self.depths and not self.evidence:
            raise AdapterError(
                "guard.depths=True without evidence: no depth could ever be trusted; set "
                "guard.evidence to 1 or more, or guard.depths to False"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineSettings:
    """All settings of online adaptation.

    Attributes:
        source: the publication that the recipe comes from, and our own choices in it.
        click: learning while an object is being clicked.
        accept: learning from accepted objects.
        skip: learning from skipped objects.
        replay: memory of accepted objects.
        guard: protection against harmful adaptation.

    Raises:
        AdapterError: a value out of range.
    """

    source: str = ""
    click: ClickSettings = field(default_factory=ClickSettings)
    accept: AcceptSettings = field(default_factory=AcceptSettings)
    skip: SkipSettings = field(default_factory=SkipSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    guard: GuardSettings = field(default_factory=GuardSettings)

    @classmethod
    def preset(cls, name: str = DEFAULT) -> OnlineSettings:
        """Return the settings of a preset.

        Raises:
            AdapterError: there is no preset of that name.
        """
        known = preset_names()
        if name not in known:
            hint = did_you_mean(name, known)
            raise AdapterError(
                f"adapter method 'online' has no variant {name!r}{hint}; its presets: "
                f"{', '.join(known)}"
            )
        values = _preset(name)
        del values["about"]
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OnlineSettings:
        """Read values that `to_dict` returned; a missing setting has its default value.

        Raises:
            AdapterError: an unknown setting or a bad value.
        """
        groups: dict[str, Any] = {
            "click": ClickSettings,
            "accept": AcceptSettings,
            "skip": SkipSettings,
            "replay": ReplaySettings,
            "guard": GuardSettings,
        }
        given = without_retired(values)
        _check_names("online settings", given, cls)
        for name, group in groups.items():
            if name in given:
                _check_names(f"online settings: {name}", given[name], group)
                given[name] = group(**given[name])
        return cls(**given)


def preset_names() -> list[str]:
    """Return the names of all presets."""
    return sorted(
        f.name.removesuffix(".json") for f in _folder().iterdir() if f.name.endswith(".json")
    )


def preset_texts() -> dict[str, str]:
    """Return a short description of each preset, by name."""
    return {name: _preset(name)["about"] for name in preset_names()}


def _preset(name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))
    return values


def _parts(steps: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], ...]:
    return tuple(
        tuple((part.partition(".")[0], part.partition(".")[2]) for part in step.split("+"))
        for step in steps
    )


def _check_steps(group: str, steps: tuple[str, ...]) -> None:
    for pairs in _parts(steps):
        for which, prompt in pairs:
            what = f"{group}.steps {which + '.' + prompt!r}"
            _one_of(f"{what}: object", which, OBJECTS)
            _one_of(f"{what}: prompt", prompt, PROMPTS)


def _folder() -> Any:
    return resources.files("samadapt.adapters.online") / "presets"


def _check_names(what: str, given: Any, group: Any) -> None:
    if not isinstance(given, Mapping):
        raise AdapterError(f"{what}: give names and values, not {given!r}")
    known = [f.name for f in fields(group)]
    if unknown := sorted(set(given) - set(known)):
        raise AdapterError(f"{what}: unknown {', '.join(unknown)}; known: {', '.join(known)}")


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise AdapterError(f"{name}={value!r}: use one of {', '.join(allowed)}")


def _at_least(group: str, least: float, **values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, float)) or not value >= least:
            raise AdapterError(f"{group}.{name}={value!r}: use a number of at least {least}")


def _above(group: str, least: float, **values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, float)) or not value > least:
            raise AdapterError(f"{group}.{name}={value!r}: use a number above {least}")
