"""How likely the best passage answers the question: a logistic regression on the evidence that retrieval left.

Coefficients and thresholds are data (`calibration.json`), fitted per language by `scripts/fit_calibration.py`: cosines
of this encoder lie close together and differ between languages, so no constant would do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from duomo.knowledge.index import terms
from duomo.support.extract import codes
from duomo.types import Language, Passage

FEATURES = (
    "cosine",  # of the multilingual encoder
    "cosine_en",  # of the English one; 0 in Chinese
    "bm25",  # share of the most BM25 could give, [0, 1]
    "coverage",  # IDF-weighted share of the question's words, [0, 1]
    "pinyin",  # the same of its syllable pairs, for speech
    "image",  # cosine of the customer's picture with the article's
    "margin",  # lead in score over the best other article
    "agreement",  # of the searches, how many put it first, [0, 1]
    "title",  # share of the question's words in the title, [0, 1]
    "unknown_codes",  # share of the codes and model names asked for that the passage lacks, [0, 1]
    "length",  # log of the question's number of words
    "sentence",  # cosine of the best article's nearest sentence, under its title
    "sentence_en",  # the same of the English encoder; 0 in Chinese
    "agrees",  # 1: the question in articles' words found the same article first, 0: another, 0.5: there is none
    "translated",  # 1 when the passage is in another language than the question
)
LEADERS = ("cosine", "bm25", "coverage")


@dataclass(frozen=True, slots=True)
class Model:
    """One language's regression and thresholds on the probability it gives."""

    weights: Mapping[str, float]  # of the standardised features
    mean: Mapping[str, float]
    scale: Mapping[str, float]
    bias: float
    answer: float  # from here on it answers
    clarify: float  # from here on it asks back; below, a person is called

    def probability(self, features: Mapping[str, float]) -> float:
        total = self.bias
        for name, weight in self.weights.items():
            total += weight * (features[name] - self.mean[name]) / self.scale[name]
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, total))))


@dataclass(frozen=True, slots=True)
class Calibration:
    version: str
    models: Mapping[str, Model]

    @classmethod
    def shipped(cls) -> Calibration:
        return cls.of(json.loads(resources.files("duomo.support").joinpath("calibration.json").read_text("utf-8")))

    @classmethod
    def of(cls, stored: Mapping[str, object]) -> Calibration:
        languages = stored["languages"]
        assert isinstance(languages, Mapping)
        return cls(str(stored["version"]), {name: Model(**model) for name, model in languages.items()})

    def __getitem__(self, language: Language) -> Model:
        return self.models[language]


def features(
    question: str,
    language: Language,
    passages: Sequence[Passage],
    other: Sequence[Passage] = (),
    *,
    sentence: float,
    sentence_en: float,
) -> dict[str, float]:
    """The evidence for the first of a ranked list of passages, as `FEATURES` names it."""
    passage = passages[0]
    others = [p for p in passages if p.article_id != passage.article_id]
    asked = set(terms(question))
    wanted = codes(question)
    leads = [all(passage.signals[name] >= p.signals[name] for p in passages) for name in LEADERS]
    return {
        **{name: float(passage.signals[name]) for name in FEATURES[:6]},
        "margin": passage.score - max((p.score for p in others), default=0.0) if others else 1.0,
        "agreement": sum(leads) / len(leads),
        "title": len(asked & set(terms(passage.title))) / len(asked) if asked else 0.0,
        "unknown_codes": len(wanted - codes(f"{passage.title} {passage.text}")) / len(wanted) if wanted else 0.0,
        "length": math.log1p(len(asked)),
        "sentence": sentence,
        "sentence_en": sentence_en,
        "agrees": float(other[0].article_id == passage.article_id) if other else 0.5,
        "translated": float(passage.language != language),
    }
