"""What the image is made of: locked, in the versions that the tests run with, and nothing that steps do not need."""

from __future__ import annotations

import re
from pathlib import Path

PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;]+)", re.MULTILINE)


def pins(path: Path) -> dict[str, str]:
    return dict(PIN.findall(path.read_text()))


def test_the_image_takes_the_versions_that_are_tested(repository: Path) -> None:
    everything, image = pins(repository / "requirements.txt"), pins(repository / "docker" / "requirements.txt")

    assert len(image) > 100
    assert image.items() <= everything.items()


def test_the_image_takes_no_kfp_and_nothing_of_the_tests(repository: Path) -> None:
    image = pins(repository / "docker" / "requirements.txt")

    assert not [name for name in image if name.startswith("kfp") or name in ("kubernetes", "pytest", "moto", "mypy")]


def test_every_package_of_the_image_has_hashes_and_none_an_address(repository: Path) -> None:
    text = (repository / "docker" / "requirements.txt").read_text()

    blocks = re.split(r"\n(?=[a-z])", text)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_the_image_is_built_from_no_address_and_for_no_other_version(repository: Path) -> None:
    from geohydra import __version__

    text = (repository / "docker" / "Dockerfile").read_text()

    assert "://" not in text
    assert f"ARG VERSION={__version__}\n" in text
    assert f"--tag geohydra:{__version__} " in text
    assert "RUN --mount" not in text
