"""A fine-tuned encoder goes with its model."""

import random
from pathlib import Path

from duomo.learn.model import Model
from duomo.learn.task import parse_task
from duomo.types import Sample
from tests.learn.checkpoints import bert

SAYS = {"delivery": "where is my parcel", "money": "i want a refund", "repair": "the screen is broken"}


def test_a_fine_tuned_encoder_moves_with_the_folder_of_its_model(tmp_path: Path) -> None:
    drawn = random.Random(0)
    samples = []
    for number in range(60):
        intent = drawn.choice(list(SAYS))
        words = drawn.sample(SAYS[intent].split(), 3)
        samples.append(Sample(str(number), text=" ".join(words), labels={"intent": intent}))
    checkpoint = bert(tmp_path / "tiny")
    task = parse_task(
        f"heads: {{intent: class}}\nfusion: late\nmodalities: {{text: {{encoder: '{checkpoint}', finetune: lora}}}}\n"
    )
    model = Model(task).fit(samples, folder=tmp_path / "model")
    model.save(tmp_path / "model")
    said = [prediction.as_dict() for prediction in model.predict(samples[:5])]
    (tmp_path / "model").rename(tmp_path / "moved")
    assert [prediction.as_dict() for prediction in Model.load(tmp_path / "moved").predict(samples[:5])] == said
