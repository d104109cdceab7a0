"""A plan as one Kubeflow Pipelines file: container components of one shape, no kfp in the step's image.

The config of every stage is a pipeline parameter, as JSON text; data passes as URIs; the file is the same, byte for
byte, whenever the plan is the same.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from geohydra import __version__, storage
from geohydra.changes import parameter_name
from geohydra.credentials import refuse_credentials
from geohydra.errors import ConfigError
from geohydra.identity import canonical, digest
from geohydra.pipeline.cluster import Cluster
from geohydra.pipeline.documents import LARGEST_ARGUMENT, Compiled, finish, has_twins, within
from geohydra.pipeline.equipment import equip
from geohydra.pipeline.graph import Graph, Group, Task, config_input, describe, folded, make_graph, pack, width
from geohydra.pipeline.hardware import read_role
from geohydra.pipeline.signatures import in_order, sign, typed, unplaced
from geohydra.plan import Plan
from geohydra.work import step_module

LARGEST_CONFIG = 16_000
"""Bytes of a config in the file; a larger one is written into the store and named there."""

SMALLEST_TASK = 400
"""Bytes that a step takes in the graph at least; what is too large by far is refused before kfp works on it for minutes."""

LONGEST_NAME = 40

_ANSWER = "Output"
"""The one output of a judge. kfp's local runner finds the values of conditions under this name only, and gives it to no container."""

RUN_INPUT = "tracking_run"
"""The input that names a run of the tracking server to write to; "" opens one."""


def compile_plan(
    plan: Plan,
    path: Path,
    *,
    store: str,
    hardware: Mapping[str, Mapping[str, Any]],
    image: str = "",
    cluster: Cluster | None = None,
    parameters: Mapping[str, Sequence[str]] | None = None,
    recipes: Mapping[str, str] | None = None,
) -> Compiled:
    """Write the plan as a Kubeflow pipeline.

    `hardware` tells what each role gets, `cluster` what every pod does; `image` wins over the cluster's. `parameters` are keys of
    the config that can be changed when a run starts, with the keys that follow each; `recipes` are the configs of a sweep's jobs
    as files: the last task keeps the best one. Raises ConfigError where a cluster would
    refuse the file (an argument over 128 KiB, a workflow over 1 MiB, a name that is too long), and where something looks like a
    credential.
    """
    try:
        from kfp.compiler import pipeline_spec_builder as written
    except ImportError as cause:
        raise ConfigError("compile", "the package kfp is not installed", "pip install 'geohydra[kfp]'") from cause
    for step in plan.steps:
        refuse_credentials(step.config, step.id)
    graph = make_graph(plan, parameters or {})
    first, last = width(graph.shared), width(graph.last)
    tasks = max([first + len(graph.groups) + last, *(width(group.tasks) for group in graph.groups)])
    within(tasks * SMALLEST_TASK, LARGEST_ARGUMENT, f"a graph of {tasks} steps", "split the sweep into several runs")
    path.parent.mkdir(parents=True, exist_ok=True)
    kit = _Kit(plan, graph, store, hardware, cluster or Cluster(), image, recipes or {})
    made = kit.pipeline(pipeline_name(plan.name))
    spec, overlay = (in_order(written.json_format.MessageToDict(one)) for one in (made.pipeline_spec, made.platform_spec))
    text = written.extract_comments_from_pipeline_spec(spec, made.description) if has_twins(spec) else _drafted(made, path)
    return replace(finish(text, spec, overlay, path), image=kit.image)


def _drafted(pipeline: Any, path: Path) -> str:
    """What kfp writes: slowly where a graph is large."""
    from kfp import compiler

    draft = path.with_name(f".{path.stem}.draft.yaml")
    try:
        compiler.Compiler().compile(pipeline, str(draft))
        return draft.read_text()
    finally:
        draft.unlink(missing_ok=True)


def pipeline_name(name: str) -> str:
    """A name that a cluster takes. Raises ConfigError where nothing is left of it, or too much."""
    clean = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not clean:
        raise ConfigError("name", f"{name!r} has no letter that a cluster takes in a name", "use a to z, 0 to 9 and -")
    if len(clean) > LONGEST_NAME:
        raise ConfigError("name", f"{clean!r} has {len(clean)} characters", f"a pipeline's name has at most {LONGEST_NAME}")
    return clean


_Made = NamedTuple("_Made", [("uri", str)])  # noqa: UP014 (kfp wants its types, not their names)
"""What the graph of a divided step gives: where the whole stands."""


class _Kit:
    """Makes the parts of one pipeline; equal parts are made once."""

    def __init__(
        self,
        plan: Plan,
        graph: Graph,
        store: str,
        hardware: Mapping[str, Mapping[str, Any]],
        cluster: Cluster,
        image: str,
        recipes: Mapping[str, str],
    ) -> None:
        self._plan = plan
        self._graph = graph
        self._store = storage.absolute(store)
        self._cluster, self._recipes = cluster, recipes
        self.image = image or cluster.image or f"geohydra:{__version__}"
        named = {task.step.role: task.step.id for task in graph.tasks}
        self._roles = {name: read_role(hardware, name, where=f"pipeline.steps.{step}.role") for name, step in named.items()}
        self._components: dict[tuple[Any, ...], Any] = {}
        self._equipped: dict[str, Any] = {}

    def pipeline(self, name: str) -> Any:
        """The whole pipeline."""
        from kfp import dsl

        inputs: dict[str, tuple[Any, Any]] = {"store": (str, self._store)}
        inputs |= {config_input(stage): (str, self._text(config)) for stage, config in self._graph.configs.items()}
        inputs |= {parameter_name(key): typed(value) for key, value in self._graph.parameters.items()}
        if self._cluster.report:
            inputs[RUN_INPUT] = (str, "")

        self._ready(self._graph.shared, _title)
        self._ready(self._graph.last, _title)
        for group in self._graph.groups:
            self._job(group)

        def build(*given: Any) -> None:
            values = dict(zip(inputs, given, strict=True))
            if not self._cluster.report:
                return self._fill_all(values)
            with dsl.ExitHandler(self._reporting(values), name="steps"):
                return self._fill_all(values)

        sign(build, name.replace("-", "_"), inputs, f"{len(self._plan.whole().steps)} steps of geohydra.")
        return dsl.pipeline(name=name)(build)

    def _fill_all(self, values: Mapping[str, Any]) -> None:
        placed: dict[str, Any] = {}
        self._fill(self._graph.shared, values, placed, _title)
        for group in self._graph.groups:
            outer = {f"from_{parameter_name(need)}": placed[identity] for need, identity in group.inputs.items()}
            changes = {_changes(task): task.changes for task in group.tasks if task.changes}
            mine = {name: value for name, value in values.items() if name in _inputs(group)}
            made = self._job(group)(**mine, **outer, **changes).set_display_name(group.title)
            placed |= {identity: made.outputs[_out(stage)] for stage, identity in group.outputs.items()}
        self._fill(self._graph.last, values, placed, _title)

    def _fill(self, tasks: Sequence[Task], values: Mapping[str, Any], placed: dict[str, Any], title: Callable[[Task], str]) -> None:
        """Put tasks into the pipeline that is being built. `placed` are the addresses of outputs by the ids of their steps."""
        from kfp import dsl

        inner = folded(tasks)
        below = {shard.step.id for shards in inner.values() for shard in shards}
        for task in tasks:
            step = task.step
            if step.id in below:
                continue
            needs = {need: placed[identity] for need, identity in step.needs.items()}
            given: dict[str, Any] = {"config": values[config_input(step.stage)], "store": values["store"]}
            given |= {parameter_name(key): values[parameter_name(key)] for key in task.parameters}
            if task.changes:
                given["changes"] = values.get(_changes(task), task.changes)
            if step.id in inner:
                made = self._divided(task, inner[step.id], title)(**given, **needs)
                placed[step.id] = made.set_display_name(f"{title(task)} in {len(step.parts)} shards").outputs["uri"]
                continue
            given |= _portion(task, placed)
            if not task.is_guarded:
                placed[step.id] = self._place(task, {**given, **needs}, title(task))
                continue
            when = step.when if task.judged_by is None else values[parameter_name(task.judged_by)]
            judge = self._judge(task)(when=when, **needs)
            self._equip(judge.set_display_name(f"{title(task)} when"), step.role)
            with dsl.If(judge.outputs[_ANSWER] == "yes", name=f"{parameter_name(step.stage)}-when"):
                self._place(task, {**given, **needs}, title(task))

    def _ready(self, tasks: Sequence[Task], title: Callable[[Task], str]) -> None:
        """Make the graphs within before the graph around them is begun, as kfp wants it."""
        known = {task.step.id: task for task in tasks}
        for identity, shards in folded(tasks).items():
            self._divided(known[identity], shards, title)

    def _divided(self, whole: Task, shards: Sequence[Task], title: Callable[[Task], str]) -> Any:
        """The pipeline of a step that is done in shards; steps of one title and shape share it."""
        from kfp import dsl

        step = whole.step
        mark = ("shards", title(whole), step.step, step.role, tuple(step.needs), whole.given, whole.parameters, len(shards))
        if mark not in self._components:
            keys = {parameter_name(key): typed(self._graph.parameters[key])[0] for key in whole.parameters}
            names = ("config", "store", *(("changes",) if whole.changes else ()), *step.needs)
            inputs = {name: (kind, inspect.Parameter.empty) for name, kind in {**dict.fromkeys(names, str), **keys}.items()}

            def build(*given: Any) -> _Made:
                values = dict(zip(inputs, given, strict=True))
                placed: dict[str, Any] = {}
                for task in (*shards, whole):
                    placed[task.step.id] = self._place(task, {**values, **_portion(task, placed)}, title(task))
                return _Made(placed[step.id])

            name = re.sub(r"\W", "_", f"{step.stage}_shards")
            sign(build, name, inputs, f"The step {step.stage} in {len(shards)} shards.", returns=_Made)
            self._components[mark] = dsl.pipeline(name=name.replace("_", "-").lower())(build)
        return self._components[mark]

    def _place(self, task: Task, given: Mapping[str, Any], title: str) -> Any:
        placed = self._component(task)(**given).set_display_name(title)
        self._equip(placed, task.step.role)
        return placed.outputs["uri"]

    def _component(self, task: Task) -> Any:
        from kfp import dsl

        step = task.step
        needs = ",".join(sorted(step.needs))
        words = [f"--needs={needs}"]
        words += [f"--given={','.join(task.given)}"] if task.given else []
        words += self._graph.words(task.parameters)
        inputs: dict[str, Any] = dict.fromkeys(("config", "store", *step.needs, *task.given), str)
        inputs |= {"parts": list} if step.parts else {}
        inputs |= {parameter_name(key): typed(self._graph.parameters[key])[0] for key in task.parameters}
        outputs: dict[str, Any] = {"uri": dsl.OutputPath(str), "report": dsl.Output[dsl.HTML], "metrics": dsl.Output[dsl.Metrics]}
        if step.shard is None and "classification" in getattr(step_module(step.step), "SHOWS", ()):  # a shard knows no scores
            outputs["classification"] = dsl.Output[dsl.ClassificationMetrics]
        return self._container(step.step, ["geohydra.steps", step.step, *words], {**inputs, **outputs}, self._image_of(step.role))

    def _judge(self, task: Task) -> Any:
        from kfp import dsl

        needs = sorted(task.step.needs)
        hints = {**dict.fromkeys(("when", *needs), str), "answer": dsl.OutputPath(str)}
        words = ["geohydra.pipeline.judge", f"--needs={','.join(needs)}"]
        judge = self._container(f"{task.step.stage}_when", words, hints, self._image_of(task.step.role))
        outputs = judge.component_spec.outputs
        outputs[_ANSWER] = outputs.pop("answer", None) or outputs[_ANSWER]
        return judge

    def _reporting(self, values: Mapping[str, Any]) -> Any:
        """The last task: it runs however the others end."""
        from kfp import dsl

        plan = pack(describe(self._plan, self._graph, self._recipes), longest=LARGEST_CONFIG)
        if len(plan) > 2 * LARGEST_CONFIG:
            plan = self._stored(plan)
        given = {name: value for name, value in values.items() if name.startswith("config_")}
        given |= {name: values[name] for name in map(parameter_name, self._graph.parameters)}
        hints: dict[str, Any] = dict.fromkeys(("plan", "store", "run_id", "run_name", RUN_INPUT, *given), str)
        hints |= {parameter_name(key): typed(value)[0] for key, value in self._graph.parameters.items()}
        hints |= {"status": dsl.PipelineTaskFinalStatus, "report": dsl.Output[dsl.HTML]}
        words = ["geohydra.pipeline.ending", *self._graph.words(list(self._graph.parameters))]
        role = next((task.step.role for task in self._graph.tasks if task.step.role == "io"), next(self._graph.tasks).step.role)
        task = self._container("report", words, hints, self._image_of(role))(
            plan=unplaced(plan),
            store=values["store"],
            run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            run_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            **{RUN_INPUT: values[RUN_INPUT]},
            **given,
        ).set_display_name("how it ended")
        self._equip(task, role)
        return task.set_caching_options(False)

    def _job(self, group: Group) -> Any:
        """The pipeline of one job inside the whole; jobs of one shape share it."""
        from kfp import dsl

        tasks = tuple((task.step.stage, task.step.role, _shape(task, group)) for task in group.tasks)
        shape = ("job", tasks, tuple(group.outputs))
        if shape not in self._components:
            self._ready(group.tasks, _short_title)
            inputs = {name: (kind, inspect.Parameter.empty) for name, kind in self._typed_inputs(group).items()}

            outputs = NamedTuple("outputs", [(_out(stage), str) for stage in group.outputs])  # type: ignore[misc]

            def build(*given: Any) -> Any:
                values = dict(zip(inputs, given, strict=True))
                placed = {identity: values[f"from_{parameter_name(need)}"] for need, identity in group.inputs.items()}
                self._fill(group.tasks, values, placed, _short_title)
                return outputs(*(placed[identity] for identity in group.outputs.values()))

            sign(build, "job", inputs, "The steps of one job.", returns=outputs if group.outputs else None)
            self._components[shape] = dsl.pipeline(name="job")(build)
        return self._components[shape]

    def _typed_inputs(self, group: Group) -> dict[str, Any]:
        types = {parameter_name(key): typed(value)[0] for key, value in self._graph.parameters.items()}
        outer = [f"from_{parameter_name(need)}" for need in group.inputs]
        changes = [_changes(task) for task in group.tasks if task.changes]
        return {name: types.get(name, str) for name in dict.fromkeys([*_inputs(group), *outer, *changes])}

    def _container(self, name: str, words: Sequence[str], hints: Mapping[str, Any], image: str) -> Any:
        """A component that runs `python -m WORDS`; its interface is what `hints` say."""
        from kfp import dsl

        mark = (name, tuple(words), image)
        if mark not in self._components:

            def container(*_: Any, **__: Any) -> Any:
                return dsl.ContainerSpec(image=image, command=["python", "-m", *words], args=["--executor-input", "{{$}}"])

            given = {key: (hint, inspect.Parameter.empty) for key, hint in hints.items()}
            sign(container, re.sub(r"\W", "_", name), given, f"The step {name}.")
            self._components[mark] = dsl.container_component(container)
        return self._components[mark]

    def _image_of(self, role: str) -> str:
        return self._roles[role].image or self.image

    def _equip(self, task: Any, role: str) -> None:
        self._equipped.setdefault(role, task)
        equip(task, self._roles[role], self._cluster, like=self._equipped[role])

    def _text(self, config: Mapping[str, Any]) -> str:
        """A config as JSON text in which nothing looks like a placeholder; in the store where it is too large."""
        text = canonical(config)
        return unplaced(self._stored(text) if len(text.encode()) > LARGEST_CONFIG else text)

    def _stored(self, text: str) -> str:
        uri = storage.join(self._store, "config", f"{digest(text)}.json")
        storage.write_bytes(uri, text.encode())
        return canonical({"$ref": uri})


def _inputs(group: Group) -> dict[str, None]:
    """Names of the pipeline's own inputs that the steps of a job see, each once."""
    configs = [config_input(task.step.stage) for task in group.tasks]
    keys = [parameter_name(key) for task in group.tasks for key in task.parameters]
    return dict.fromkeys(["store", *configs, *keys])


def _out(stage: str) -> str:
    return f"to_{parameter_name(stage)}"


def _changes(task: Task) -> str:
    return f"changes_{parameter_name(task.step.stage)}"


def _portion(task: Task, placed: Mapping[str, Any]) -> dict[str, Any]:
    """Which shard a task works on, or the outputs of all of them that it puts together."""
    step = task.step
    shard = {"shard": f"{step.shard[0]}/{step.shard[1]}"} if step.shard else {}
    return shard | ({"parts": [placed[part] for part in step.parts]} if step.parts else {})


def _title(task: Task) -> str:
    return task.step.id


def _short_title(task: Task) -> str:
    """Inside a job a step needs no number: predict, or predict.3of8."""
    return task.step.stage + (f".{task.step.shard[0] + 1}of{task.step.shard[1]}" if task.step.shard else "")


def _shape(task: Task, group: Group) -> tuple[Any, ...]:
    """What must be equal for two tasks to be the same task of two jobs."""
    inside = {one.step.id: place for place, one in enumerate(group.tasks)}
    needs = tuple(sorted((need, inside.get(identity, -1)) for need, identity in task.step.needs.items()))
    parts = tuple(inside[part] for part in task.step.parts)
    return task.step.step, needs, parts, task.given, task.parameters, task.step.shard, task.step.when
