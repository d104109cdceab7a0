"""A bundle on new imagery: class maps, probabilities and polygons in a folder."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohydra.command.arguments import add_composing, asked, parse, parser
from geohydra.command.console import near_path
from geohydra.errors import ConfigError

if TYPE_CHECKING:
    from geohydra.command.performing import Performed

_OVERRIDE = re.compile(r"^[+~]{0,2}[A-Za-z_][\w./@-]*=")
_EXAMPLES = """  geohydra predict outputs/runs/latest 'new/*.tif' -o maps
  geohydra predict my_bundle s3://bucket/scene.tif -o maps predict.overlap=0.5
  geohydra predict models:/geohydra@champion a.tif b.tif -o maps 'source.bands=[red,green,blue,nir]'

BUNDLE is a bundle's folder, the folder of a run that made one, or a registered model; several, with commas between them,
answer together. Bands are named as the model knows them unless source.bands says otherwise. Results are found again in
the store: a second call is quick."""


def main(words: Sequence[str]) -> int:
    """Compose with the predict pipeline, run, and lay the results into a folder."""
    flags = parser("predict", "Predict new imagery with a trained model.", examples=_EXAMPLES)
    flags.usage = "geohydra predict BUNDLE IMAGES... [-o FOLDER] [flags] [key=value ...]"
    flags.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where the results are copied to; else they stay in the store")
    flags.add_argument("--link", action="store_true", help="hard links instead of copies: they take no space, but must not be edited")
    add_composing(flags)
    given = parse(flags, words)
    if given.multirun:
        raise ConfigError("-m", "predict runs one bundle at a time", "leave it out")
    places = [word for word in given.overrides if not _OVERRIDE.match(word)]
    given.overrides = overrides(places, [word for word in given.overrides if _OVERRIDE.match(word)])
    wanted = asked(given)
    if wanted is None:
        return 0
    from geohydra.command.performing import perform_plan
    from geohydra.command.summary import failures, told

    done = perform_plan(wanted.compose())
    print(told(done.jobs, done.outcome, done.folder, done.address))
    for line in failures(done.outcome):
        print(f"geohydra: {line}", file=sys.stderr)
    if given.output is not None and done.outcome.exit_code == 0:
        print(f"results   {near_path(_laid_out(done, given.output, link=given.link))}")
    return done.outcome.exit_code


def overrides(places: Sequence[str], given: Sequence[str]) -> list[str]:
    """The words of the predict pipeline, then the bundle and images of the command line, then what the user overrode."""
    words = ["pipeline=predict", "source=files", "name=predict", "tracking=none", "bundle.registered_name=null"]
    keys = {word.partition("=")[0] for word in given}
    if places:
        bundles = [_registered(bundle, given) if bundle.startswith("models:/") else bundle for bundle in _each(places[0])]
        words.append(f"bundle.uri={quoted(bundles[0])}" if len(bundles) == 1 else f"bundle.uri=[{','.join(map(quoted, bundles))}]")
        bands = [] if "source.bands" in keys else _bands(bundles[0])
        one = _of_one_image(bands)
        if places[1:] and bands != one:
            hint = "geohydra predict BUNDLE source=pairs source.before='A/*.tif' source.after='B/*.tif' -o FOLDER"
            raise ConfigError("predict", "this model compares two images of each place", hint)
        if one:
            words += _named_bands(one, given)
    elif "bundle.uri" not in keys:
        raise ConfigError("predict", "a bundle is needed", "geohydra predict BUNDLE 'images/*.tif' -o FOLDER")
    if places[1:]:
        key = "source.of.images" if "source=series" in given else "source.images"
        words.append(f"{key}=[{','.join(quoted(place) for place in places[1:])}]")
    elif not keys & {"source", "source.images"}:
        raise ConfigError("predict", "no images are named", "geohydra predict BUNDLE 'images/*.tif' -o FOLDER")
    return [*(word for word in words if word.partition("=")[0] not in keys), *given]


def _named_bands(bands: Sequence[Any], given: Sequence[str]) -> list[str]:
    """How the source is told the names of the bands: a series has them from the source within, or one, of which its files hold dates."""
    listed = f"[{','.join(quoted(band) for band in bands)}]"
    if "source=series" not in given:
        return [f"source.bands={listed}"] if _asks_for_bands(given) else []
    dated = any(word.startswith("source.dates=") for word in given)
    if dated:
        return [f"source.band={quoted(bands[0])}"] if len(bands) == 1 else []
    within = next((word for word in given if word.startswith("source@source.of=")), "source@source.of=files")
    return [f"source.of.bands={listed}"] if within.endswith("=files") else []


def _asks_for_bands(given: Sequence[str]) -> bool:
    """Whether the source that is chosen is told its bands; those of a catalogue or of the built-in worlds have their own."""
    from geohydra.config.compose import compose

    chosen = [word for word in given if word.startswith("source=")]
    return not chosen or "bands" in compose(chosen).config["source"]


def quoted(text: str) -> str:
    """Any text as one value of Hydra's grammar, where a backslash means itself unless a quote follows."""
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return f'"{escaped}"'


def _each(word: str) -> list[str]:
    """One bundle, or several with commas between them."""
    from geohydra import storage

    return [word] if "," not in word or storage.exists(word) else [part for part in word.split(",") if part]


def _registered(uri: str, given: Sequence[str]) -> str:
    """The folder of a registered model, from the tracking store of the config."""
    from geohydra.command.stores import mlflow_tracking
    from geohydra.config.compose import compose
    from geohydra.tracking.registry import registered_model

    where = [word for word in given if word.startswith(("outputs=", "tracking")) and word != "tracking=none"]
    return registered_model(uri, mlflow_tracking(compose(where).config))


def _bands(bundle: str) -> list[Any]:
    from geohydra.config.pinning import find_model, read_card

    return list(read_card(find_model(bundle)).get("bands", []))


def _of_one_image(bands: Sequence[Any]) -> list[Any]:
    """The bands of each image, where a model takes those before and those after."""
    return list(dict.fromkeys(str(band).removeprefix("before_").removeprefix("after_") for band in bands))


def _laid_out(done: Performed, folder: Path, *, link: bool) -> Path:
    """Copies of all that the predict step wrote for people: a folder a scene, and the index."""
    from geohydra import storage

    source = storage.fetch(done.jobs[0].outputs["predict"])
    with storage.writing(str(folder)):
        for path in sorted(source.rglob("*")):
            place = path.relative_to(source)
            if path.is_file() and place.parts[0] != "report" and place.name != "manifest.json":
                _lay(path, folder / place, link=link)
    return folder


def _lay(path: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    temporary.unlink(missing_ok=True)
    if link:
        temporary.hardlink_to(path)
    else:
        shutil.copy2(path, temporary)
    temporary.replace(target)
