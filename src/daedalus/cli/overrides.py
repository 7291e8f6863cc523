"""`--set key=value` flags to overrides of the settings."""

from collections.abc import Iterable

from daedalus.shared.errors import ConfigError


def parse_overrides(flags: Iterable[str] | None) -> dict[str, object]:
    """Return dotted keys and their values, read as YAML: ``ingestion.batch_size=500``, ``coinbase.symbols=[BTC-USD]``.

    Raises
    ------
    ConfigError
        If a flag is not of that form.
    """
    import yaml

    values: dict[str, object] = {}
    for flag in flags or ():
        key, separator, text = flag.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set {key}: write it as key=value, such as --set ingestion.batch_size=500")
        try:
            values[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            # The value may be a secret: it is not repeated.
            raise ConfigError(
                f"--set {key}: the value is not YAML; put text with special characters in quotes"
            ) from None
    return values
