"""The configuration file: XML, and the models of `model`, both ways.

One element an object, one child element an attribute, spelled as on the command line:

    <flashvault format_version="1" cluster="r1r2m2p57_cluster">
      <backup_profile name="RG1">
        <ENABLE_BACKUP>yes</ENABLE_BACKUP>
        …

`profile.xsd` is the schema. A file that declares a document type is refused unread: entities and
external references have no use here, only abuse. Objects that did not change keep their text and
comments when the file is written again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import NamedTemporaryFile

from lxml import etree

from blocks.errors import ConfigError, ProfileError
from blocks.profile.base import Configured, did_you_mean, parse
from blocks.profile.model import (
    CLASSES,
    BackupProfile,
    BucketConfig,
    Configuration,
    Node,
    StorageSystem,
)

FORMAT_VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
LOCK_WAIT_S = 10.0

Identity = tuple[str, str, str]


def config_path() -> Path:
    """Return where the configuration is: $FLASHVAULT_CONFIG, the system's file, or the user's."""
    if named := os.environ.get("FLASHVAULT_CONFIG"):
        return Path(named)
    shared = Path("/etc/flashvault/flashvault.xml")
    if shared.exists() or os.geteuid() == 0:
        return shared
    return Path.home() / ".config" / "flashvault" / "flashvault.xml"


def load_configuration(path: Path | None = None) -> Configuration:
    """Read the configuration file.

    Raises:
        ConfigError: there is none, or it cannot be read.
        ProfileError: everything that is wrong in it, with line numbers.
    """
    path = path or config_path()
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no configuration at {path}",
            hint="Begin with `flashvault add storage_system …`, or set FLASHVAULT_CONFIG.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            hint="FLASHVAULT_CONFIG names the XML file, which the user who runs this may read.",
        ) from error
    return parse_document(data, source=str(path))


def parse_document(data: bytes | str, *, source: str = "configuration") -> Configuration:
    """Read a configuration from XML text.

    Args:
        data: the document; text is taken as UTF-8.
        source: what to call it in errors.
    """
    root = _parse_tree(data.encode() if isinstance(data, str) else data, source)
    found: dict[str, list[Configured]] = {name: [] for name in CLASSES}
    lines: dict[Identity, int] = {}
    faults: list[str] = []
    for element in root.iterchildren(tag=etree.Element):
        try:
            item = _read_object(element)
        except ProfileError as error:
            faults.extend(error.faults)
            continue
        found[item.element].append(item)
        lines.setdefault(_identity(item), element.sourceline or 0)
    configuration = Configuration.model_construct(
        cluster=_attribute(root, "cluster"),
        storage_systems=tuple(i for i in found["storage_system"] if isinstance(i, StorageSystem)),
        nodes=tuple(i for i in found["node"] if isinstance(i, Node)),
        buckets=tuple(i for i in found["bucket"] if isinstance(i, BucketConfig)),
        profiles=tuple(i for i in found["backup_profile"] if isinstance(i, BackupProfile)),
    )
    faults.extend(
        f"line {lines[_identity(item)]}: {item.title}: {fault}"
        for item, fault in configuration.faults()
    )
    if not faults:
        schema = _schema()
        if not schema.validate(root):
            faults.extend(f"line {entry.line}: {entry.message}" for entry in schema.error_log)
    if faults:
        raise ProfileError(faults, where=source, hint="Nothing was changed; correct the file.")
    return configuration


def print_document(configuration: Configuration, *, previous: bytes | None = None) -> bytes:
    """Write a configuration as XML.

    Args:
        configuration: what to write.
        previous: the document it replaces; its comments and unchanged objects are kept as they are.
    """
    root = etree.Element("flashvault")
    if previous is not None:
        root = _parse_tree(previous, "configuration")
    root.set("format_version", str(FORMAT_VERSION))
    if configuration.cluster:
        root.set("cluster", configuration.cluster)
    else:
        root.attrib.pop("cluster", None)
    wanted = {_identity(item): item for item in configuration.objects()}
    for element in list(root.iterchildren(tag=etree.Element)):
        standing = _read_object(element)
        item = wanted.pop(_identity(standing), None)
        if item is None:
            root.remove(element)
        elif item != standing or item.model_fields_set != standing.model_fields_set:
            root.replace(element, object_element(item))
    for item in wanted.values():
        root.append(object_element(item))
    etree.indent(root, space="  ")
    tree = etree.ElementTree(root)
    return etree.tostring(tree, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def object_element(item: Configured) -> etree._Element:
    """Return one object as its element of the file."""
    element = etree.Element(item.element, name=item.name)
    for label, text in item.attributes(only_set=True).items():
        if text:
            etree.SubElement(element, label).text = text
    return element


def print_object(item: Configured) -> str:
    """Return one object as XML text, as in the file: for export and `query -x`."""
    element = deepcopy(object_element(item))
    etree.indent(element, space="  ")
    return etree.tostring(element, encoding="unicode", pretty_print=True)


def parse_object(text: str, *, source: str) -> tuple[str, str, dict[str, str]]:
    """Read one exported object: its class, its name, and its attributes as text."""
    element = _parse_xml(text.encode(), source)
    if element.tag not in CLASSES:
        known = did_you_mean(str(element.tag), CLASSES)
        raise ProfileError([f"<{element.tag!s}> is no class of object{known}"], where=source)
    return str(element.tag), _attribute(element, "name"), _texts(element)


class Edit:
    """A change of the configuration file in progress; hold it only inside `editing`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = path.read_bytes() if path.exists() else None
        self.configuration = (
            Configuration()
            if self._before is None
            else parse_document(self._before, source=str(path))
        )

    def save(self, configuration: Configuration) -> None:
        """Replace the file in one step; what it was stays beside it as `.previous`.

        Raises:
            ProfileError: the new configuration is wrong; nothing was changed.
            ConfigError: somebody changed the file meanwhile, or it cannot be written.
        """
        faults = [f"{item.title}: {fault}" for item, fault in configuration.faults()]
        if faults:
            raise ProfileError(faults, hint="Nothing was changed.")
        data = print_document(configuration, previous=self._before)
        # What we print must read back as what was meant, before it replaces what works.
        assert parse_document(data) == configuration
        standing = self.path.read_bytes() if self.path.exists() else None
        if standing != self._before:
            raise ConfigError(
                f"{self.path} was changed by someone else in this moment",
                hint="Nothing was changed; run the command again.",
            )
        try:
            _replace(self.path, data)
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror}") from error
        self._before = data
        self.configuration = configuration


@contextmanager
def editing(path: Path | None = None) -> Iterator[Edit]:
    """Hold the configuration file for a change; others wait, at most ten seconds.

    Raises:
        ConfigError: another process holds it for longer, or the folder cannot be written.
    """
    # Through a link: what is replaced must be the file itself, not the link to it.
    path = (path or config_path()).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"cannot write {path.parent}: {error.strerror}") from error
    try:
        _take(lock, path)
        yield Edit(path)
    finally:
        os.close(lock)


def _take(lock: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"another process is changing {path}", hint="Wait for it, then try again."
                ) from error
            time.sleep(0.05)
        else:
            return


def _replace(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        try:
            new.write(data)
            new.flush()
            os.fchmod(new.fileno(), mode)
            os.fsync(new.fileno())
            if path.exists():
                kept = Path(f"{new.name}.previous")
                os.link(path, kept)
                kept.replace(path.with_name(f"{path.name}.previous"))
            Path(new.name).replace(path)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse_xml(data: bytes, where: str) -> etree._Element:
    if len(data) > MAX_BYTES:
        raise ProfileError([f"larger than {MAX_BYTES} bytes"], where=where)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_blank_text=True,
        remove_pis=True,
    )
    if b"<!DOCTYPE" in data.replace(b"\0", b"").upper():
        raise ProfileError(
            ["declares a document type, which is not allowed"],
            where=where,
            hint="Remove the <!DOCTYPE …> declaration and every entity.",
        )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        line = error.lineno or 1
        message = str(error.msg).split(", line ")[0]
        raise ProfileError([f"line {line}: {message}"], where=where) from error
    # Again on the parsed tree: an encoding could have hidden it from the search above.
    if root.getroottree().docinfo.doctype:
        raise ProfileError(["declares a document type, which is not allowed"], where=where)
    return root


def _parse_tree(data: bytes, where: str) -> etree._Element:
    root = _parse_xml(data, where)
    if root.tag != "flashvault":
        raise ProfileError(
            [f"line {root.sourceline}: <{root.tag!s}> instead of <flashvault>"],
            where=where,
            hint="This is not a configuration of flashvault.",
        )
    version = _attribute(root, "format_version")
    if not version.isdigit() or int(version) < 1:
        raise ProfileError([f"format_version '{version}' is not a number"], where=where)
    if int(version) > FORMAT_VERSION:
        raise ProfileError(
            [f"format_version {version} is newer than this flashvault ({FORMAT_VERSION})"],
            where=where,
            hint="Install the version of flashvault that wrote it, or a newer one.",
        )
    return root


def _read_object(element: etree._Element) -> Configured:
    tag, line = str(element.tag), element.sourceline
    if tag not in CLASSES:
        raise ProfileError([f"line {line}: <{tag}> is no object{did_you_mean(tag, CLASSES)}"])
    name = _attribute(element, "name")
    lines = {str(child.tag).upper(): child.sourceline for child in element}
    texts, faults = {}, []
    try:
        texts = _texts(element)
    except ProfileError as error:
        faults.extend(error.faults)
    item = None
    if not faults:
        try:
            item = parse(CLASSES[tag], name, texts)
        except ProfileError as error:
            faults = [
                f"line {lines.get(fault.split(':')[0], line)}: {tag} {name}: {fault}"
                for fault in error.faults
            ]
    if item is None:
        raise ProfileError(faults)
    return item


def _texts(element: etree._Element) -> dict[str, str]:
    texts: dict[str, str] = {}
    title = f"{element.tag!s} {_attribute(element, 'name')}"
    for child in element.iterchildren(tag=etree.Element):
        label = str(child.tag)
        if label.upper() in texts:
            raise ProfileError([f"line {child.sourceline}: {title}: {label}: given twice"])
        if len(child):
            raise ProfileError([f"line {child.sourceline}: {title}: {label}: holds elements"])
        texts[label.upper()] = child.text or ""
    return texts


def _identity(item: Configured) -> Identity:
    return item.element, item.name, str(getattr(item, "method", ""))


@cache
def _schema() -> etree.XMLSchema:
    source = resources.files("blocks.profile").joinpath("profile.xsd").read_bytes()
    return etree.XMLSchema(etree.fromstring(source))


def _attribute(element: etree._Element, name: str) -> str:
    return str(element.get(name) or "")
