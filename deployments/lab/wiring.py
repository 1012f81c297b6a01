"""What the lab comes up with: the Redpaper's example, once or several times.

Array `storage1` carries, for the first resource group, the sources `Node1_1` and `Node1_2`
(hdisk18, hdisk19, VG1 of RG1), their FlashCopy targets `Node1_4` and `Node1_5` (hdisk21, hdisk22),
and the blank spares `Node1_6` and `Node1_7` (hdisk23, hdisk24). Array `storage2` at the second site
carries the auxiliary volumes `Node2_1` and `Node2_2`. Further groups repeat this, seven disks on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_HDISK = 18
FIRST_AUXILIARY_HDISK = 4

ARRAYS = {
    "storage1": ("00000200C0A0CAFE", "60050764008101D3F8"),
    "storage2": ("00000200C0A0BEEF", "6005076801858A4C90"),
}
"""Name → (system id, first digits of its volumes' UIDs)."""

CLUSTER = "sample_cluster"
NODES = {"node1": "storage1", "node2": "storage2"}
"""AIX node → the array it sees."""
LINUX_HOST = "backuphost"


@dataclass(frozen=True)
class Group:
    """One resource group: its names, its volumes on both arrays, and how node1 sees them."""

    number: int
    volumes: int = 2
    """Of its volume group; the Redpaper's has two."""

    @property
    def _disks(self) -> int:
        """How many names it has on storage1: the Redpaper leaves one out after the sources."""
        return 3 * self.volumes + 1

    @property
    def resource_group(self) -> str:
        """The resource group."""
        return f"RG{self.number}"

    @property
    def volume_group(self) -> str:
        """Its volume group."""
        return f"VG{self.number}"

    @property
    def _suffix(self) -> str:
        return "" if self.number == 1 else f"_{self.number}"

    @property
    def consistency_group(self) -> str:
        """Its FlashCopy consistency group, on storage1."""
        return f"sample_consistency_group{self._suffix}"

    @property
    def remote_group(self) -> str:
        """Its Global Mirror consistency group, from storage1 to storage2."""
        return f"sample_remote_cg{self._suffix}"

    @property
    def major(self) -> int:
        """The major number of its volume group."""
        return 53 + self.number

    def _names(self, node: int, start: int) -> list[str]:
        first = self._disks * (self.number - 1) + start
        return [f"Node{node}_{first + number}" for number in range(self.volumes)]

    @property
    def sources(self) -> list[str]:
        """The volumes of the volume group."""
        return self._names(1, 1)

    @property
    def targets(self) -> list[str]:
        """The FlashCopy targets of the sources, in the same order."""
        return self._names(1, self.volumes + 2)

    @property
    def spares(self) -> list[str]:
        """Blank volumes to restore onto, in the same order."""
        return self._names(1, 2 * self.volumes + 2)

    @property
    def auxiliaries(self) -> list[str]:
        """The sources' copies at the second site, on storage2, in the same order."""
        return self._names(2, 1)

    @property
    def disks(self) -> dict[str, int]:
        """Volume on storage1 → number of its hdisk on node1."""
        shift = self._disks * (self.number - 1)
        first = FIRST_HDISK + shift - 1
        names = [*self.sources, *self.targets, *self.spares]
        return {name: first + int(name.rpartition("_")[2]) - shift for name in names}

    @property
    def auxiliary_disks(self) -> dict[str, int]:
        """Auxiliary volume on storage2 → number of its hdisk on node2, unlike node1's numbers."""
        first = FIRST_AUXILIARY_HDISK + len(self.auxiliaries) * (self.number - 1)
        return {name: first + place for place, name in enumerate(self.auxiliaries)}


def groups_of(plan: Mapping[str, int]) -> list[Group]:
    """Return the groups of a lab from its plan, `lab.json`."""
    volumes = plan.get("volumes", 2)  # a lab of an earlier version says nothing of them
    return [Group(number + 1, volumes) for number in range(plan["groups"])]


def pvid(volume: str) -> str:
    """Return the physical volume id a volume group's disk was given when it was made."""
    return "00f6" + hashlib.sha256(f"pvid {volume}".encode()).hexdigest()[:12]
