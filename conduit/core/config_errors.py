"""What is wrong with a setting: its name as its reader wrote it, and the remedy."""

from collections.abc import Container

from pydantic import ValidationError


def explained(error: ValidationError, from_environ: Container[str]) -> str:
    """A line for each; those `from_environ` are named as variables, others as lines of conduit.toml."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in problem["loc"])
        if not where:  # of several settings together, which it names itself
            lines.append(problem["msg"].removeprefix("Value error, "))
            continue
        name = where.upper() if where in from_environ else f"conduit.toml: {where}"
        remedy = "no such setting; see .env.example" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"{name}: {remedy}")
    return "\n".join(lines)
