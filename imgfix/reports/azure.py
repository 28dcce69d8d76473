"""The commands that bring a finished VHD to Azure (R25). Pure: nothing here speaks to Azure.

Upload: https://learn.microsoft.com/en-us/azure/virtual-machines/linux/disks-upload-vhd-to-managed-disk-cli
Gallery: https://learn.microsoft.com/en-us/azure/virtual-machines/image-version
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.facts.model import Generations, Kernel
from imgfix.reports.model import NextStep

#: Suffixes of kernel releases that are 64-bit Arm's: Enterprise Linux, then Debian.
_ARM = (".aarch64", "arm64")
#: What Azure takes as the name of a disk or an image definition: 80 characters, of these.
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_NAME_LENGTH = 60
#: The SAS is good for this long; an upload of 1 TiB at 100 Mbit/s takes a day.
_SAS_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class Image:
    """A finished VHD: `file_size` in bytes with the footer, `name` what Azure is to call it."""

    path: str
    name: str
    file_size: int
    generation: int
    architecture: str
    generalized: bool


def image(
    path: str,
    file_size: int,
    generations: Generations | None,
    kernels: tuple[Kernel, ...],
    *,
    generalized: bool,
) -> Image:
    """Return what the commands need to know. Generation 2 is taken where the disk boots as both."""
    stem = path.rpartition("/")[2].removesuffix(".vhd")
    name = _NAME.sub("-", stem).strip("-._")[:_NAME_LENGTH] or "image"
    generation = 2 if generations is not None and generations.gen2.possible else 1
    arm = any(kernel.release.endswith(_ARM) for kernel in kernels)
    return Image(path, name, file_size, generation, "Arm64" if arm else "x64", generalized)


def next_steps(image: Image, *, both: bool) -> tuple[NextStep, ...]:
    """Return the steps in their order; `both` tells that the disk boots as either generation."""
    return (*_upload(image, both), *(_gallery(image) if image.generalized else _attach(image)))


def _upload(image: Image, both: bool) -> Iterator[NextStep]:
    other = "; it boots as generation 1 too: V1 for sizes that have no generation 2" if both else ""
    yield NextStep(
        title="Names of your own",
        command=f"RG=my-resources LOCATION=westeurope DISK={image.name}-os VHD={shlex.quote(image.path)}",
        note="a resource group that exists, and its location; the other lines use them",
    )
    yield NextStep(
        title="Make an empty managed disk to upload into",
        command=_lines(
            'az disk create -g "$RG" -l "$LOCATION" -n "$DISK" --os-type Linux --sku Standard_LRS',
            f"--hyper-v-generation V{image.generation} --architecture {image.architecture}",
            f"--upload-type Upload --upload-size-bytes {image.file_size}",
        ),
        note=f"the number is the size of the VHD file with its footer; generation {image.generation}{other}",
    )
    yield NextStep(
        title="Upload",
        command=_lines(
            'SAS=$(az disk grant-access -g "$RG" -n "$DISK" --access-level Write',
            f"--duration-in-seconds {_SAS_SECONDS} --query 'accessSAS || accessSas' -o tsv)",
        )
        + '\nazcopy copy "$VHD" "$SAS" --blob-type PageBlob\n'
        'az disk revoke-access -g "$RG" -n "$DISK"',
        note="azcopy leaves out what is zero; the disk can be used once the access is revoked",
    )


def _gallery(image: Image) -> Iterator[NextStep]:
    definition = f'-g "$RG" --gallery-name "$GALLERY" --gallery-image-definition {image.name}'
    yield NextStep(
        title="Make an image of it, for as many VMs as you like",
        command='GALLERY=my_gallery\naz sig create -g "$RG" -l "$LOCATION" --gallery-name "$GALLERY"\n'
        + _lines(
            f"az sig image-definition create {definition}",
            f"--publisher my-company --offer linux --sku {image.name} --os-type Linux --os-state Generalized",
            f"--hyper-v-generation V{image.generation} --architecture {image.architecture}",
        )
        + "\n"
        + _lines(
            f"az sig image-version create {definition}",
            '--gallery-image-version 1.0.0 --os-snapshot "$(az disk show -g "$RG" -n "$DISK" --query id -o tsv)"',
        ),
        note="the gallery and the definition are made once, a version for each upload",
    )
    yield NextStep(
        title="Start a VM",
        command=_lines(
            f"IMAGE=$(az sig image-version show {definition}",
            "--gallery-image-version 1.0.0 --query id -o tsv)",
        )
        + f'\naz vm create -g "$RG" -n {image.name}-1 --image "$IMAGE" --admin-username azureuser --generate-ssh-keys\n'
        f'az vm boot-diagnostics enable -g "$RG" -n {image.name}-1',
        note="boot diagnostics show the serial console",
    )


def _attach(image: Image) -> Iterator[NextStep]:
    yield NextStep(
        title="Start the VM from the disk itself",
        command=f'az vm create -g "$RG" -n {image.name} --attach-os-disk "$DISK" --os-type Linux\n'
        f'az vm boot-diagnostics enable -g "$RG" -n {image.name}',
        note="a specialized disk is this very machine: its accounts and keys are those that it had",
    )


def _lines(*parts: str) -> str:
    """Join the parts of one command, each on a line of its own."""
    return " \\\n    ".join(parts)
