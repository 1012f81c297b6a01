"""The capability probe: what a store really does, recorded in the bucket and obeyed.

Run at set-up and on demand, with the credentials and settings a backup would use. The report says
nothing secret. `refusals` is what makes a backup impossible; `cautions` what the operator should
know; `settings` what the client must do differently.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from blocks.errors import AccessDenied, BucketMissing, CorruptData, Refused, StoreUnavailable
from blocks.store.base import Store
from blocks.store.bench import Bench, Finding, Trial, Verdict
from blocks.store.encryption import Encryption, Mode
from blocks.store.s3_errors import error_code
from blocks.store.trials import TRIALS

log = logging.getLogger(__name__)

FOLDER = "probe/"
_WORK = "probe/work/"
_REPORT = re.compile(r"^probe/[0-9TZ.]+\.json$")

NEEDED = (
    "put and get",
    "keys of images",
    "missing is said",
    "ranged read",
    "multipart",
    "listing",
)
"""Without these no backup is possible."""

_CAUTIONS = {
    "pinned read": "an object replaced during a restore is noticed by its digest only",
    "list parts": "an interrupted upload may have to begin again",
    "list order": "two groups such as RG1 and RG1-b are listed in another order than elsewhere",
    "abort": "abandoned uploads stay and cost money: set a lifecycle rule",
    "delete many": "prune needs one request for each object",
    "copy part": "compaction reads and writes everything again",
    "put if absent": "two writers are kept apart by looking first, not by the store",
    "complete if absent": "two writers are kept apart by looking first, not by the store",
    "checksum": "damage on the way is found when objects are verified, not when they are sent",
    "object lock": "nothing keeps whoever holds the credentials from deleting backups",
    "versioning": "an overwritten or deleted object is gone",
}


class Outcome(BaseModel):
    """One trial's outcome, as recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    verdict: Verdict
    detail: str = ""


class Report(BaseModel):
    """What the probe found; stored as `probe/<time>.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["flashvault-probe"] = "flashvault-probe"
    format_version: Literal[1] = 1
    probed_at: AwareDatetime
    url: str
    server: str = Field(default="", description="what the store calls itself")
    encryption: Mode = Mode.DISABLE
    outcomes: tuple[Outcome, ...]

    def verdict(self, name: str) -> Verdict:
        """Return the verdict of a trial; untried if this report has none of that name."""
        return next((o.verdict for o in self.outcomes if o.name == name), Verdict.UNTRIED)

    @property
    def conditional_put(self) -> bool:
        """Whether the store itself keeps two writers apart (`BucketSettings.conditional_put`)."""
        return self.verdict("put if absent") is self.verdict("complete if absent") is Verdict.WORKS

    @property
    def part_checksum(self) -> bool:
        """Whether a CRC-32 may be sent with every body (`BucketSettings.part_checksum`)."""
        return self.verdict("checksum") in (Verdict.WORKS, Verdict.IGNORED)

    def refusals(self, *, object_lock: bool = False) -> list[str]:
        """Say why this store must not be used as asked; empty if it may.

        Args:
            object_lock: the profile wants locked objects.
        """
        wanted = list(NEEDED)
        if self.encryption not in (Mode.DISABLE, Mode.CLIENT):
            wanted.append("encryption")
        if object_lock:
            wanted += ["versioning", "object lock"]
        return [
            f"{outcome.name}: {outcome.verdict.value}"
            + (f" ({outcome.detail})" if outcome.detail else "")
            for outcome in self.outcomes
            if outcome.name in wanted and outcome.verdict is not Verdict.WORKS
        ] + [f"{name}: not tried" for name in wanted if name not in {o.name for o in self.outcomes}]

    def cautions(self) -> list[str]:
        """Say what an operator should know about this store."""
        return [
            f"{name} {self.verdict(name).value}: {consequence}"
            for name, consequence in _CAUTIONS.items()
            if self.verdict(name) is not Verdict.WORKS
        ]


def probe(
    client: Any,
    bucket: str,
    prefix: str = "",
    *,
    encryption: Encryption | None = None,
    now: datetime,
    url: str = "",
    trials: Mapping[str, Trial] = TRIALS,
) -> Report:
    """Try everything on a folder of its own in the bucket, then clear it.

    Args:
        client: a boto3 or ibm_boto3 S3 client, as backups use it.
        bucket: the bucket's name; it must exist.
        prefix: of the store's keys, ending in `/` or empty.
        encryption: what the profile asks of the store.
        now: aware UTC.
        url: the store, for people; never with a secret.
        trials: what to try.

    Raises:
        StoreUnavailable: the store could not be asked: no word about what it can do.
    """
    folder = f"{prefix}{_WORK}{os.urandom(8).hex()}/"
    shown = url or f"s3://{bucket}/{prefix}".rstrip("/")
    bench = Bench(client, bucket, folder, shown, encryption or Encryption())
    server = _ask_name(bench)
    outcomes = []
    try:
        for name, trial in trials.items():
            finding = _attempt(bench, name, trial)
            log.info("probed %s: %s %s", name, finding.verdict.value, finding.detail)
            outcomes.append(
                Outcome(name=name, verdict=finding.verdict, detail=finding.detail[:300])
            )
    finally:
        _clear(bench)
    return Report(
        probed_at=now,
        url=shown,
        server=server,
        encryption=bench.encryption.mode,
        outcomes=tuple(outcomes),
    )


def require(report: Report, *, object_lock: bool = False) -> None:
    """Refuse a store that cannot do what is asked of it.

    Raises:
        Refused: with every reason.
    """
    reasons = report.refusals(object_lock=object_lock)
    if reasons:
        raise Refused(
            f"{report.url} cannot be used as configured: {'; '.join(reasons)}",
            hint="See docs/reference/stores.md: what each store does, and what follows.",
        )


def save_report(store: Store, report: Report) -> str:
    """Record a report in the bucket; return its key."""
    stamp = report.probed_at.strftime("%Y%m%dT%H%M%S.%fZ")
    key = f"{FOLDER}{stamp}.json"
    text = json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False)
    store.put(key, text.encode() + b"\n")
    return key


def latest_report(store: Store) -> Report | None:
    """Return the newest report recorded in the bucket; None if it was never probed.

    Raises:
        CorruptData: there is one, and it cannot be read.
    """
    keys = [info.key for info in store.list(FOLDER)]
    reports = [key for key in keys if _REPORT.match(key)]
    if not reports:
        return None
    try:
        return Report.model_validate_json(store.get(max(reports)))
    except ValidationError as error:
        raise CorruptData(
            f"{max(reports)} is no report of a probe", hint="Probe the store again."
        ) from error


def markdown(reports: Mapping[str, Report]) -> str:
    """Print reports side by side as a Markdown table: one column for each store."""
    names = list(reports)
    lines = [
        "| | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for trial in TRIALS:
        cells = [reports[name].verdict(trial) for name in names]
        if any(cell is not Verdict.UNTRIED for cell in cells):
            lines.append(f"| {trial} | " + " | ".join(_cell(cell) for cell in cells) + " |")
    verdicts = ["no" if reports[name].refusals() else "yes" for name in names]
    lines.append("| **usable** | " + " | ".join(f"**{verdict}**" for verdict in verdicts) + " |")
    return "\n".join(lines) + "\n"


def notes(reports: Mapping[str, Report]) -> str:
    """Print what was seen where something does not simply work, as a Markdown list."""
    lines = []
    for name, report in reports.items():
        seen = [
            f"{outcome.name} {outcome.verdict.value}"
            + (f" ({outcome.detail})" if outcome.detail else "")
            for outcome in report.outcomes
            if outcome.verdict not in (Verdict.WORKS, Verdict.UNTRIED)
        ]
        lines.append(f"- **{name}**: {'; '.join(seen) or 'everything tried works'}.")
    return "\n".join(lines) + "\n"


def _cell(verdict: Verdict) -> str:
    return {
        Verdict.WORKS: "works",
        Verdict.IGNORED: "**ignored**",
        Verdict.BROKEN: "**broken**",
        Verdict.REFUSED: "refused",
        Verdict.UNTRIED: "-",
    }[verdict]


def _attempt(bench: Bench, name: str, trial: Trial) -> Finding:
    try:
        verdict, detail = trial(bench)
    except Exception as error:  # noqa: BLE001 - whatever a store does to a trial is its outcome
        code = error_code(error)
        if not code:
            # No answer, or one that makes no sense. If the store is still there, it is its way of
            # answering this request; if not, nothing has been learnt.
            _ask_name(bench)
            return Finding(
                name, Verdict.BROKEN, f"no usable answer: {type(error).__name__} {error}"
            )
        # A clean "no" is an answer; a failure inside the store is not to be built upon.
        refused = code.startswith("4") or code in _CLEAN_REFUSALS
        return Finding(name, Verdict.REFUSED if refused else Verdict.BROKEN, f"answered {code}")
    return Finding(name, verdict, detail)


_CLEAN_REFUSALS = {
    "AccessDenied",
    "InvalidArgument",
    "InvalidRequest",
    "MethodNotAllowed",
    "NotImplemented",
    "501",
    "InvalidEncryptionAlgorithmError",
    "KMSNotConfigured",
    "KMS.NotFoundException",
    "KMS.DisabledException",
}


def _ask_name(bench: Bench) -> str:
    """Return what the server calls itself; `StoreUnavailable` if it does not answer at all."""
    try:
        answer = bench.client.head_bucket(Bucket=bench.bucket)
    except Exception as error:
        code = error_code(error)
        if not code:
            raise StoreUnavailable(f"{bench.url}: {error}") from error
        if code in ("404", "NoSuchBucket"):
            raise BucketMissing(f"{bench.url}: there is no such bucket") from error
        raise AccessDenied(f"{bench.url}: the bucket answers {code}") from error
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("server", ""))


def _clear(bench: Bench) -> None:
    """Delete what the trials left, in every version."""
    left: Sequence[dict[str, str]] = []
    with suppress(Exception):
        versions = bench.client.list_object_versions(Bucket=bench.bucket, Prefix=bench.folder)
        found = [*versions.get("Versions", []), *versions.get("DeleteMarkers", [])]
        left = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
    for target in left or [{"Key": key} for key in sorted(set(bench.keys))]:
        # A locked version stays until its lock ends.
        with suppress(Exception):
            bench.client.delete_object(Bucket=bench.bucket, **target)
