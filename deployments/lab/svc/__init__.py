"""The simulated array: IBM SVC / Storage Virtualize as its command line shows it.

Start at `system`: one array, its objects, and `run`, which answers one command line. `commands`
holds the grammar (options, mandatory ones, objects), `views` the printing, `states` the two state
machines as tables; `flashcopy`, `remote`, `volumes` and `about` carry the commands.
Of these: `mappings`, `mapping_views`; `mirror`, `partnerships`, `remote_views`; `copies`, `hosts`,
`volume_views`; `inventory`, `surroundings`, `users`. What is kept: `model`, `naming`. What is
refused: `refusals`, and as not in the lab `beyond`; `spec` tells of the commands.

Written from IBM's documents (docs/reference/svc-cli.md). Imports nothing of `blocks`, `tasks` or
`flows`: a misunderstanding must not be shared with our client. No network here; see `..sshd`.
"""
