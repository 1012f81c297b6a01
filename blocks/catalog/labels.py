"""What an image's header says of its point and volume, for a catalog rebuilt from images alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from blocks.errors import UnknownFormat


class Labels(BaseModel):
    """What the header of every image says of its point and volume, beside the engine's facts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    point: str
    group: str
    cluster: str = ""
    storage_system: str = ""
    consistency_group: str = ""
    parent: str = ""
    taken_at: AwareDatetime
    array_start_time: str = ""
    reading_host: str = ""
    tool_version: str = ""
    volumes: str
    """UIDs of all volumes of the point, with commas between."""

    name: str
    disk: str
    pvid: str = ""
    volume_group: str = ""

    def as_header(self) -> dict[str, str]:
        """Return what `CaptureSettings.labels` takes."""
        return {key: str(value) for key, value in self.model_dump(mode="json").items() if value}


def read_labels(key: str, document: Mapping[str, Any]) -> Labels:
    """Read the labels out of an image's header.

    Raises:
        UnknownFormat: it has none, or others.
    """
    try:
        return Labels.model_validate(document.get("labels", {}))
    except ValidationError as error:
        raise UnknownFormat(f"{key} does not say which restore point it is of") from error
