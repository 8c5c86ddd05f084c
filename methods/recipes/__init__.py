"""Training recipes, one TOML file per method and data set."""
