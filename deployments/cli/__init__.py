"""The operator's command line, in clmgr's grammar.

Start at `__main__`: it names every verb and the module that carries it. A verb's module is
imported only when the verb is used, and imports Prefect only when it starts a flow.
"""
