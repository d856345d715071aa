"""A small share of `make slow-clients`: good traffic beside those that hold connections, drip and are greedy."""

import pytest

from support import slow_clients
from support.slow_clients import Scene

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("scene", [Scene("strangers", 60, 30, 3, 4), Scene("own address", 60, 30, 3, 0), Scene("tls", 30, 15, 2, 4, tls=True)],
                         ids=lambda scene: scene.name.replace(" ", "_"))
def test_good_traffic_loses_nothing_beside_slow_clients(outcomed_binary, tmp_path, say, scene):
    figures = slow_clients.play(scene, outcomed_binary, tmp_path, 3, clients=4, per_second=60)
    assert figures.bad == []
    assert figures.missing == 0
    assert figures.sent >= 100
    say(f"{scene.name}: {figures.held} connections held, {figures.sent} good requests, p99 {figures.percentile(0.99):.0f} ms")
