"""Register a lab as an operator would: its configuration, its secrets, its deployments.

The profile is the Redpaper's, with compression on, so that the tools of the tutorial
(`aws s3 cp … - | zstd -dc`) can be tried on its images.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from blocks.profile.base import parse
from blocks.profile.document import editing
from blocks.profile.model import (
    BackupProfile,
    BucketConfig,
    Configuration,
    Node,
    StorageSystem,
)
from deployments.lab.site import LabGroup, Site


def register(site: Site) -> None:
    """Write the lab's configuration, and tell its Prefect server if it has one."""
    path = Path(site.config)
    wanted = configuration_of(site)
    if not path.exists():
        with editing(path) as edit:
            edit.save(wanted)
    if site.prefect.api_url:
        _register_with_prefect(site, wanted)


def configuration_of(site: Site) -> Configuration:
    """Return what a lab's operator asks for."""
    return Configuration(
        cluster=site.groups[0].cluster,
        storage_systems=tuple(
            parse(
                StorageSystem,
                system.name,
                {
                    "TYPE": "SVC",
                    "ADDRESSES": system.address,
                    "PORT": str(system.port),
                    "USER": system.user,
                    "HOST_KEY": system.host_key,
                    "KEY_FILE": system.key_file,
                },
            )
            for system in site.storage_systems
        ),
        nodes=(
            *(
                parse(
                    Node,
                    node.name,
                    {
                        "TYPE": node.os,
                        "ADDRESSES": node.address,
                        "PORT": str(node.port),
                        "USER": node.user,
                        "HOST_KEY": node.host_key,
                        "KEY_FILE": node.key_file,
                    },
                )
                for node in site.nodes
            ),
            *(
                parse(Node, host.name, {"TYPE": "LOCAL", "DEVICE_DIRECTORY": host.device_directory})
                for host in site.hosts
            ),
        ),
        buckets=(
            parse(
                BucketConfig,
                site.s3.bucket,
                {
                    "CLOUD_SERVICE": "AWS",
                    "ENDPOINT": site.s3.endpoint,
                    "REGION": site.s3.region,
                },
            ),
        ),
        profiles=tuple(profile for group in site.groups for profile in _profiles(site, group)),
    )


def _profiles(site: Site, group: LabGroup) -> tuple[BackupProfile, ...]:
    cloud = parse(
        BackupProfile,
        group.resource_group,
        {
            "ENABLE_BACKUP": "yes",
            "BACKUP_METHOD": "cloud",
            "REPLICATED_RESOURCES": group.consistency_group,
            "STORAGE_NAME": group.storage_system,
            "BUCKET_NAME": site.s3.bucket,
            "TARGET_LOCATION": site.directory,
            "VOLUME_GROUP": group.volume_group,
            "BACKUP_SCHEDULE": "17:30",
            "INCREMENTAL_BACKUP_FREQUENCY": "6",
            "COMPRESSION": "enable",
            "RETENTION": "last=10,daily=14,weekly=8,monthly=12",
            "HOST": site.hosts[0].name,
        },
    )
    remote = parse(
        BackupProfile,
        group.resource_group,
        {
            "ENABLE_BACKUP": "no",  # the lab sets no remote copy up: that is for who tries it
            "BACKUP_METHOD": "remote_storage",
            "REPLICATED_RESOURCES": group.remote_consistency_group,
            "STORAGE_NAME": f"{group.storage_system}, {group.remote_storage_system}",
            "VOLUME_GROUP": group.volume_group,
            "RPO": "5m",
        },
    )
    return cloud, remote


def _register_with_prefect(site: Site, wanted: Configuration) -> None:
    from blocks.host.block import Node as NodeBlock
    from blocks.store.block import Bucket
    from blocks.svc.block import SvcSystem
    from blocks.units import slug

    for system in site.storage_systems:
        SvcSystem(
            name=system.name,
            addresses=[system.address],
            port=system.port,
            user=system.user,
            host_key=system.host_key,
            private_key=Path(system.key_file).read_text(),
            password=system.password,
        ).save(slug(system.name), overwrite=True)
    for node in site.nodes:
        NodeBlock(
            name=node.name,
            os="aix",
            addresses=[node.address],
            port=node.port,
            user=node.user,
            host_key=node.host_key,
            private_key=Path(node.key_file).read_text(),
        ).save(slug(node.name), overwrite=True)
    for host in site.hosts:
        NodeBlock(
            name=host.name, os="linux", is_local=True, device_directory=host.device_directory
        ).save(slug(host.name), overwrite=True)
    Bucket(
        name=site.s3.bucket,
        bucket=site.s3.bucket,
        provider="AWS",
        endpoint=site.s3.endpoint,
        region=site.s3.region,
        access_key=site.s3.access_key,
        secret_key=site.s3.secret_key,
    ).save(slug(site.s3.bucket), overwrite=True)
    if importlib.util.find_spec("deployments.register"):
        importlib.import_module("deployments.register").apply(wanted)
