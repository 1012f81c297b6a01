"""A volume's bytes as frames, and back.

Start at `capture` and its twin `restore`. `reading` reads a disk ahead, in batches; `extents` sifts
what is unchanged, zero or new; `codec` turns extents into a frame; `layout` is the bytes of frames
and maps, as specified in docs/reference/format.md; `map` says where every extent is.
Encryption: `cipher` seals; `keys`, `keyring`, `envelope` and `keywords` say who can open.
`scan` reads an object without a map; `compare` lets a node say what has changed; `digest` of an
extent, a map or a whole device. Speed: `ordered` (worker threads), `memory`.

May import: units, errors. Knows no store and no host: it is handed a source to read and a sink to
write, and is pure but for the threads it runs on.
"""
