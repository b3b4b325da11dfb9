"""Import of another mirror manager's configuration: read it, convert it to a config repository, write that.

`tunasync → definitions → draft → several → writing`. A draft consists of the keys that all mirrors share
(`shared_keys`), those of each mirror (`mirror_keys`, with `containers`, `folders`, `patterns` and `values`), the
machine's settings (`machine`) and the policy that allows it all (`allowance`). `options` has tunasync's options,
`toml_source` and `yaml_text` the syntaxes. Of yuki: `yuki → yuki_source → yuki_mirror → writing`.
"""
