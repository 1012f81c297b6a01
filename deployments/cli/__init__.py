"""The operator's command line, in clmgr's grammar.

Start at `__main__`: it names every verb and the module that carries it. A verb's module is
imported only when the verb is used, and imports Prefect only when it starts a flow.

What verbs share: `grammar` (clmgr's words), `actions` (what add, modify, delete do; `audit` keeps
who), `queries` (what query answers), `secrets`, `buckets`; `output` (JSON or text, errors),
`render` and `columns` (tables), `progress` (bars), `signals` (Ctrl-C). Below other verbs: `fault`
is `lab fault`, `compact` is `image compact`.
"""
