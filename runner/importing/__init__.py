"""Taking over the configuration of other mirror managers: read it, turn it into a config repository, write that.

`tunasync → options, definitions, patterns → draft → writing`; the syntaxes are in `toml_source` and `yaml_text`.
"""
