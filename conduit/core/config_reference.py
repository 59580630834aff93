"""The configuration reference, made from Settings, so that it cannot say anything else."""

from conduit.core.config import TABLES, Settings


def shown_default(name: str) -> str:
    """As an environment variable would be written; empty for none."""
    default = Settings.model_fields[name].default
    value = default.get_secret_value() if hasattr(default, "get_secret_value") else default
    return "" if value is None else str(value)


def reference_rows() -> list[str]:
    """One row of a Markdown table for each setting that is an environment variable."""
    return [
        f"| `{name.upper()}` | `{shown_default(name)}` | {field.description} |".replace("| `` |", "| empty |")
        for name, field in Settings.model_fields.items()
        if name not in TABLES
    ]


def env_lines() -> list[str]:
    """One pair of lines of `.env.example` for each of them."""
    return [
        f"# {field.description}\n# {name.upper()}={shown_default(name)}"
        for name, field in Settings.model_fields.items()
        if name not in TABLES
    ]
