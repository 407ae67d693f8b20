"""The matrix: each ending with each model of processes, and with each family and network at least once."""

from __future__ import annotations

from functools import partial

from tests.live.matrix.endings import ENDINGS, Ending
from tests.live.matrix.ends import End
from tests.live.matrix.network import FAMILIES, Family
from tests.live.matrix.session import MODELS, Model, open_session
from tests.live.matrix.stage import Scenario, Stage


def _play(ending: Ending, model: Model, family: Family, over_veth: bool, stage: Stage) -> list[End]:
    network = stage.veth if over_veth else stage.made_loopback if ending.cuts else stage.loopback
    session = open_session(stage.fork_server, network, family, model)
    ending.play(session)
    return session.close()


def _matrix() -> dict[str, Scenario]:
    made: dict[str, Scenario] = {}
    for row, ending in enumerate(ENDINGS):
        for column, model in enumerate(MODELS):
            family = FAMILIES[(row + column) % len(FAMILIES)]
            over_veth = (row + column // len(FAMILIES)) % 2 == 1
            place = "veth" if over_veth else "loopback"
            made[f"{ending}, {model.name}, {family.name}, {place}"] = partial(_play, ending, model, family, over_veth)
    return made


MATRIX = _matrix()
