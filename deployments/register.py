"""Bring Prefect in step with the configuration: blocks, pools, limits, deployments, automations.

`plan` says what would be done and `apply` does it; a second `apply` finds nothing to do. What is
not ours is never touched: deployments and automations by tag and name, blocks only if an earlier
configuration of ours had them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
)
from prefect.client.schemas.objects import (
    ConcurrencyLimitStrategy,
    ConcurrencyOptions,
    WorkQueue,
    WorkQueueStatus,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import AutomationSort, DeploymentSort
from prefect.events.filters import AutomationFilter, AutomationFilterName, AutomationFilterTags
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker

from blocks.errors import ConfigError, Unreachable
from blocks.profile.base import Configured
from blocks.profile.document import parse_document, print_document
from blocks.profile.model import BackupProfile, Configuration, Method, Platform
from blocks.profile.parcel import pack, unpack
from deployments import credentials
from deployments.automations import PREFIX, armed_by, resource_of, wanted_automations
from deployments.drift import JOB, canonical, differences, flow_of, schedule_of, schema_of
from deployments.schedules import (
    POOL,
    POOLS,
    RESTORE_POOL,
    Wanted,
    wanted_deployments,
    wanted_queues,
)
from tasks.limits import DEFAULTS, limit_name

VARIABLE = "flashvault_configuration"
"""The Prefect variable that holds the configuration for workers on other machines."""

ALARM_BLOCK = "flashvault-alarm"
"""A Prefect notification block of this name, of any type, is told of every alarm."""

GRACE_OF_A_SLOT_S = 300

OURS = DeploymentFilterTags(all_=["flashvault"])
COMMON = "flashvault-"
"""What the names of deployments that are of no group begin with."""

PAGE = 200
"""The most rows of one answer of Prefect's server."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what is wanted and what Prefect has."""

    action: Literal["create", "update", "delete"]
    kind: str
    name: str
    detail: str = ""


Step = tuple[Change, Callable[[], Any]]


def problems(configuration: Configuration) -> list[str]:
    """Return why profiles cannot be deployed: what they refer to is not registered."""
    return [f"{profile.title}: {text}" for profile, text in configuration.loose_ends()]


def deployable(configuration: Configuration) -> Configuration:
    """Return the configuration without the profiles that have a loose end."""
    loose = {profile.title for profile, _ in configuration.loose_ends()}
    kept = tuple(profile for profile in configuration.profiles if profile.title not in loose)
    return configuration.model_copy(update={"profiles": kept})


def plan(configuration: Configuration) -> list[Change]:
    """Return what `apply` would do, in its order.

    Raises:
        Unreachable: the server does not answer.
    """
    with _client() as client:
        state = _State(client, configuration)
        changes = [change for change, _ in state.steps()]
        return changes + [change for change, _ in state.automation_steps()]


def apply(configuration: Configuration, group: str = "") -> list[Change]:
    """Bring Prefect in step, and return what was done.

    Args:
        configuration: what is wanted.
        group: compare only the deployments and alarms of this resource group, and those of none:
            with hundreds of groups a look at all takes a minute.

    Raises:
        Unreachable: the server does not answer; run it again, what was done stays done.
    """
    done = []
    with _client() as client:
        state = _State(client, configuration, group)
        for change, act in state.steps():
            act()
            done.append(change)
        if any(change.kind == "deployment" for change in done):
            # Alarms name deployments by id: those that were made just now have one only now.
            state = _State(client, configuration, group)
        for change, act in state.automation_steps():
            act()
            done.append(change)
    return done


def queues_without_a_worker(configuration: Configuration) -> list[tuple[str, str]]:
    """Return (pool, queue) of the work queues at which no worker has looked in the last minute.

    Runs that are sent there would wait for ever.
    """
    with _client() as client:
        polled = {
            (queue.work_pool_name, queue.name): queue.status == WorkQueueStatus.READY
            for pool in POOLS
            for queue in _queues_of(client, pool)
        }
    return [key for key in wanted_queues(configuration) if not polled.get(key)]


def _queues_of(client: SyncPrefectClient, pool: str) -> list[WorkQueue]:
    try:
        return client.read_work_queues(work_pool_name=pool)
    except ObjectNotFound:
        return []


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPStatusError as error:
        detail = error.response.text[:300]
        raise Unreachable(
            f"the Prefect server refuses: {error.response.status_code} {detail}"
        ) from error
    except httpx.HTTPError as error:
        raise Unreachable(f"the Prefect server does not answer: {error}") from error


class _State:
    """What Prefect has, beside what is wanted."""

    def __init__(
        self, client: SyncPrefectClient, configuration: Configuration, group: str = ""
    ) -> None:
        self.client = client
        self.group = group
        self.whole = configuration
        self.configuration = deployable(configuration)
        self.wanted = {
            item.name: item
            for item in wanted_deployments(self.configuration)
            if flow_of(item) is not None and self._is_meant(item.tags)
        }
        if group:
            standing = [
                *self._standing(tags=DeploymentFilterTags(all_=["flashvault", _tag(group)])),
                *self._standing(tags=OURS, name=DeploymentFilterName(like_=COMMON)),
            ]
        else:
            standing = self._standing(tags=OURS)
        self.standing = {item.name: item for item in standing if self._is_meant(item.tags)}

    def _is_meant(self, tags: Sequence[str]) -> bool:
        """Say whether what has these tags is to be compared: of the group, or of none."""
        groups = [tag for tag in tags if tag.startswith(_tag(""))]
        return not self.group or groups in ([], [_tag(self.group)])

    def _standing(self, **wanted: Any) -> list[DeploymentResponse]:
        read = partial(
            self.client.read_deployments,
            deployment_filter=DeploymentFilter(**wanted),
            sort=DeploymentSort.NAME_ASC,
        )
        return list(_pages(read))

    def steps(self) -> Iterator[Step]:
        """Yield everything but the automations."""
        yield from self._blocks()
        yield from self._variable()
        yield from self._pools()
        yield from self._limits()
        yield from self._deployments()

    # What the configuration names ----------------------------------------------------------------

    def _blocks(self) -> Iterator[Step]:
        items: list[Configured] = [
            *self.whole.storage_systems,
            *self.whole.nodes,
            *self.whole.buckets,
        ]
        for item in items:
            block = credentials.standing(item)
            if fields := credentials.drift(item, block):
                action: Literal["create", "update"] = "update" if block else "create"
                detail = "" if block is None else ", ".join(fields)
                change = Change(action, "block", item.title, detail)
                yield change, partial(credentials.save, item)
        named = {(item.element, item.name) for item in items}
        for item in self._earlier():
            gone = (item.element, item.name) not in named
            if gone and credentials.standing(item) is not None:
                change = Change("delete", "block", item.title, "with its secrets")
                yield change, partial(credentials.forget, item)

    def _earlier(self) -> list[Configured]:
        first = self._read_variable(VARIABLE)
        if first is None:
            return []
        try:
            text = unpack(first, lambda number: self._read_variable(f"{VARIABLE}_{number}"))
            before = parse_document(text)
        except ConfigError:
            return []  # written by another version, or half: nothing is deleted on its word
        return [*before.storage_systems, *before.nodes, *before.buckets]

    def _read_variable(self, name: str) -> str | None:
        found = self.client.read_variable_by_name(name)
        return found.value if found is not None and isinstance(found.value, str) else None

    def _variable(self) -> Iterator[Step]:
        for number, piece in enumerate(pack(print_document(self.whole))):
            name = f"{VARIABLE}_{number}" if number else VARIABLE
            standing = self._read_variable(name)
            if standing != piece:
                action: Literal["create", "update"] = "create" if standing is None else "update"
                yield (
                    Change(action, "variable", name),
                    partial(_set_variable, name, piece),
                )

    def _pools(self) -> Iterator[Step]:
        needed = {item.pool for item in self.wanted.values()} | {POOL, RESTORE_POOL}
        for name in sorted(needed):
            description = POOLS[name]
            try:
                self.client.read_work_pool(name)
            except ObjectNotFound:
                pool = WorkPoolCreate(name=name, type="process", description=description)
                yield (
                    Change("create", "work pool", name),
                    partial(self.client.create_work_pool, _with_template(pool)),
                )

    def _limits(self) -> Iterator[Step]:
        names: dict[str, int] = {}
        for profile in self.configuration.profiles:
            names[limit_name("group", profile.name)] = DEFAULTS["group"]
            for system in profile.storage_names:
                names[limit_name("array", system)] = DEFAULTS["array"]
            if profile.method == Method.CLOUD:
                names[limit_name("bucket", profile.bucket_name)] = DEFAULTS["bucket"]
                for node in self._readers(profile):
                    names[limit_name("host", node)] = DEFAULTS["host"]
        # One that a person has set to another size stays as it is.
        standing = {limit.name for limit in _pages(self.client.read_global_concurrency_limits)}
        for name, size in names.items():
            if name not in standing:
                wanted = GlobalConcurrencyLimitCreate(name=name, limit=size)
                yield (
                    Change("create", "concurrency limit", name, f"{size} at a time"),
                    partial(self.client.create_global_concurrency_limit, wanted),
                )

    def _readers(self, profile: BackupProfile) -> list[str]:
        """Return the node that reads; a machine that reads its own makes its limit itself."""
        try:
            node = self.configuration.reading_node(profile)
        except ConfigError:
            return []  # not there yet: its runs will say so
        return [] if node.type == Platform.LOCAL else [node.name]

    # Deployments ---------------------------------------------------------------------------------

    def _deployments(self) -> Iterator[Step]:
        for item in self.wanted.values():
            standing = self.standing.get(item.name)
            if standing is None:
                yield (
                    Change("create", "deployment", item.name, item.description),
                    partial(self._deploy, item),
                )
            elif fields := differences(item, standing):
                yield (
                    Change("update", "deployment", item.name, ", ".join(fields)),
                    partial(self._deploy, item),
                )
        for name, extra in self.standing.items():
            if name not in self.wanted:
                yield (
                    Change("delete", "deployment", name),
                    partial(self.client.delete_deployment, extra.id),
                )

    def _deploy(self, item: Wanted) -> None:
        flow = flow_of(item)
        assert flow is not None, "only deployments whose flow is there are wanted"
        self.client.create_deployment(
            flow_id=self.client.create_flow_from_name(flow.name),
            name=item.name,
            description=item.description,
            entrypoint=item.entrypoint,
            parameters=item.parameters,
            parameter_openapi_schema=schema_of(flow),
            enforce_parameter_schema=True,
            schedules=[schedule_of(tick) for tick in item.ticks],
            tags=list(item.tags),
            work_pool_name=item.pool,
            work_queue_name=item.queue,
            job_variables=dict(JOB),
            paused=item.is_paused,
            pull_steps=[],
            concurrency_limit=item.limit,
            concurrency_options=None
            if item.limit is None
            else ConcurrencyOptions(
                collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW,
                grace_period_seconds=GRACE_OF_A_SLOT_S,
            ),
        )

    # Automations ---------------------------------------------------------------------------------

    def automation_steps(self) -> Iterator[Step]:
        """Yield the automations; deployments still to be made count with an id to come."""
        ids = {name: uuid4() for name in self.wanted}
        ids |= {name: item.id for name, item in self.standing.items() if name in self.wanted}
        everything = wanted_automations(self.configuration, ids, self._alarm_blocks())
        wanted = {name: each for name, each in everything.items() if self._is_meant(each.tags)}
        standing = {
            automation.name: automation
            for automation in self._standing_automations(wanted)
            if automation.name.startswith(PREFIX) and self._is_meant(automation.tags)
        }
        for name, automation in wanted.items():
            before = standing.get(name)
            if before is None:
                yield (
                    Change("create", "automation", name),
                    partial(self._wind_up, automation),
                )
            elif canonical(before) != canonical(automation):
                yield (
                    Change("update", "automation", name),
                    partial(self._wind_up, automation, before.id),
                )
        for name, extra in standing.items():
            if name not in wanted:
                yield (
                    Change("delete", "automation", name),
                    partial(self.client.delete_automation, extra.id),
                )

    def _standing_automations(self, wanted: Iterable[str]) -> list[Automation]:
        read = partial(self.client.read_automations, sort=AutomationSort.NAME_ASC)
        if not self.group:
            return list(_pages(read))
        of_group = AutomationFilter(tags=AutomationFilterTags(all_=[_tag(self.group)]))
        by_name = AutomationFilter(name=AutomationFilterName(any_=list(wanted)))
        return [
            *_pages(partial(read, automations=of_group)),
            *_pages(partial(read, automations=by_name)),
        ]

    def _wind_up(self, automation: AutomationCore, standing: UUID | None = None) -> None:
        """Write an automation, and start its clock: who never completed a backup is missed too."""
        if standing is None:
            self.client.create_automation(automation)
        else:
            self.client.update_automation(standing, automation)
        groups = [tag.removeprefix("group:") for tag in automation.tags if tag.startswith("group:")]
        for group, armed in product(groups, armed_by(automation)):
            event = {
                "occurred": datetime.now(UTC).isoformat(),
                "event": armed,
                "resource": {
                    "prefect.resource.id": resource_of(group),
                    "prefect.resource.name": group,
                },
                "payload": {},
                "id": str(uuid4()),
            }
            self.client.request("POST", "/events", json=[event])

    def _alarm_blocks(self) -> list[UUID]:
        documents = _pages(partial(self.client.read_block_documents, include_secrets=False))
        return sorted(document.id for document in documents if document.name == ALARM_BLOCK)


def _pages(read: Callable[..., list[T]]) -> Iterator[T]:
    """Yield all there is: one answer of the server holds no more than `PAGE`."""
    offset = 0
    while found := read(limit=PAGE, offset=offset):
        yield from found
        if len(found) < PAGE:
            return
        offset += PAGE


def _tag(group: str) -> str:
    return f"group:{group}"


def _with_template(pool: WorkPoolCreate) -> WorkPoolCreate:
    template = ProcessWorker.get_default_base_job_template()
    return pool.model_copy(update={"base_job_template": template})


def _set_variable(name: str, piece: str) -> None:
    Variable.set(name, piece, tags=["flashvault"], overwrite=True)
