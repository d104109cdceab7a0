"""On this machine: each step in a warm worker process of its own, as many at once as roles and `parallel` allow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from geohydra.plan import Plan

if TYPE_CHECKING:
    from geohydra.pipeline.runners import Listener, Outcome


class LocalRunner:
    """Steps of a plan in worker processes, forked from one that has imported `preload`.

    `parallel` bounds how many run at once; `cpu`, `memory` (GB) and `gpu` are what roles share, by default all that
    the machine has. `retries` count attempts after a crash. A step has `grace` seconds to stop after Ctrl-C.
    """

    def __init__(
        self,
        *,
        parallel: Annotated[int, Field(ge=1)] = 4,
        retries: Annotated[int, Field(ge=0)] = 1,
        grace: Annotated[float, Field(ge=0)] = 2.0,
        cpu: Annotated[int, Field(ge=1)] | None = None,
        memory: Annotated[float, Field(gt=0)] | None = None,
        gpu: Annotated[int, Field(ge=0)] | None = None,
        preload: list[str] | None = None,
    ) -> None:
        self.parallel = parallel
        self.retries = retries
        self.grace = grace
        self._cpu, self._memory, self._gpu = cpu, memory, gpu
        self._preload = tuple(preload or ())

    def warm(self) -> None:
        """Start the fork server in the background; it takes seconds to import what steps need."""
        from geohydra.pipeline.runners.server import fork_server

        fork_server().warm(self._preload)

    def run(self, plan: Plan, *, store: str, hardware: Mapping[str, Any], folder: Path, listener: Listener) -> Outcome:
        """Perform every step that the store does not hold. Where it holds all, no process is started."""
        from geohydra.pipeline.runners.budget import Budget, this_machine
        from geohydra.pipeline.runners.execution import Execution

        budget = Budget(this_machine(cpu=self._cpu, memory=self._memory, gpu=self._gpu), hardware)
        execution = Execution(plan, store=store, folder=folder, budget=budget, listener=listener, settings=self)
        return execution.run()
