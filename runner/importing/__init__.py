"""Taking over the configuration of other mirror managers: read it, turn it into a config repository, write that.

`tunasync → definitions → draft → writing`. A draft is made of what all mirrors share (`shared_keys`), each mirror
(`mirror_keys`, with `containers`, `folders`, `patterns` and `values`), the machine's settings (`machine`) and the
policy that allows it all (`allowance`). The names of tunasync's options are in `options`, the syntaxes in
`toml_source` and `yaml_text`.
"""
