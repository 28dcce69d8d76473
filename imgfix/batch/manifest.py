"""The manifest of a batch, as frozen models: which images, by which profile, into which folder."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: What a profile's setting may be; a list for lists of words.
Setting: TypeAlias = "str | int | float | bool | list[str] | None"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _row(value: object) -> object:
    """A path or a pattern alone is a row without settings of its own."""
    return {"image": value} if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_tuple)]


class Options(_Model):
    """Options of `imgfix apply`, for all images or for one. Paths are relative to the manifest's folder."""

    profile: str | None = Field(None, description="a profile's path or bundled name, or auto")
    mode: Literal["generalized", "specialized"] | None = Field(
        None, description="image for many VMs, or this very VM"
    )
    set: dict[str, Setting] = Field({}, description="settings of the profile, as --set takes them")
    packages: str | None = Field(
        None, description="folder of .deb or .rpm files that packages are installed from"
    )
    network: bool | None = Field(None, description="whether missing packages may be fetched; default true")
    keys: Words | None = Field(None, description="files with keys or passphrases of encrypted disks")


class Row(Options):
    """One image, or all that a pattern names, with options of their own."""

    image: str = Field(min_length=1, description="path, or pattern with *, ? or **")
    output: str | None = Field(None, description="the VHD to write; for a single image only")


class Manifest(_Model):
    """A whole batch."""

    profile: str | None = Field(None, description="the profile of every image that names no other")
    output: str = Field(min_length=1, description="folder of the VHDs")
    results: str | None = Field(
        None,
        description="folder of results, logs and the summary; default: imgfix-batch in the output folder",
    )
    defaults: Options = Field(Options(), description="options of every image")
    images: Annotated[
        tuple[Annotated[Row, BeforeValidator(_row)], ...], BeforeValidator(_tuple), Field(min_length=1)
    ] = Field(description="paths, patterns, or mappings with `image` and options; later rows override")
