"""The simulated array: IBM SVC / Storage Virtualize as its command line shows it.

Start at `system`: one array, its objects, and `run`, which answers one command line. `commands`
holds the grammar (options, mandatory ones, objects), `views` the printing, `states` the two state
machines as tables; `flashcopy`, `remote`, `volumes` and `about` carry the commands.

Written from IBM's documents (docs/reference/svc-cli.md). Imports nothing of `blocks`, `tasks` or
`flows`: a misunderstanding must not be shared with our client. No network here; see `..sshd`.
"""
