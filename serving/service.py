"""The BentoML service: one worker that holds every enabled model (one process a model costs eight times the memory).

`python -m serving` runs it in one process; `bentoml serve serving.service:Aiops` works too, as Docker images do.
"""

from __future__ import annotations

import bentoml

from serving import api
from serving.access import Access
from serving.loader import Loader, Registry
from serving.metrics import Metrics
from serving.pool import Pool
from training import catalog

THREADS = 2  # predictions computed at once; each uses one core (OMP_NUM_THREADS=1)
QUEUE = 64  # predictions that may wait for a thread


def _registry() -> Registry:
    from training import registry  # imports MLflow: after the port is open, in the loader's thread

    return registry


kinds = {name: catalog.load(name) for name in catalog.enabled()}
loader = Loader(kinds, _registry)
pool = Pool(THREADS, QUEUE)
metrics = Metrics(loader.slots)
app = api.create(kinds, loader.slots, pool, metrics)  # other rooms may include routers before the service starts


# Wrapped, the app is no Starlette to BentoML, which then leaves every path to it: also the unknown ones.
@bentoml.asgi_app(Access(app, metrics))
@bentoml.service(
    name="aiops",
    workers=1,
    metrics={"enabled": False},  # ours know the models
    logging={"access": {"enabled": False}},  # so does ours
    tracing={"excluded_urls": [".*"]},  # spans that nobody collects cost more CPU than all of our own layers
)
class Aiops:
    """The life of the process; requests go straight to the mounted app."""

    def __init__(self) -> None:
        loader.start()

    async def __is_ready__(self) -> bool:
        """Answers `/readyz`."""
        return loader.ready

    @bentoml.on_shutdown
    def close(self) -> None:
        loader.stop()
        pool.close()
