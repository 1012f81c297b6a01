"""What was asked: storage systems, nodes, buckets, backup profiles. No secrets.

Start at `model`. `document` turns the XML file into these models and back, with line numbers in
its errors; `profile.xsd` is the schema an operator's editor can use.
Of attributes: `base` (what all objects have), `attributes` (spelling), `bandwidth`, `retention`.
`parcel` is all of it as Prefect keeps a copy.

May import: units, errors. Source: docs/reference/powerha-cbm.md.
"""
