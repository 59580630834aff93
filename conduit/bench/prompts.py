"""Made-up prompts of every kind, easy and hard: what the demo asks when there is no traffic of one's own."""

import random
from collections.abc import Iterator, Mapping, Sequence

TEMPLATES: Mapping[str, Sequence[str]] = {
    "code": (
        "Write a short Python function that {task} a list of {thing}.",
        "Fix the bug in this {language} function:\n```\n{snippet}\n```",
        "Implement a thread-safe, lock-free {structure} in {language} and state its complexity in the worst case.",
        "Write a SQL query that {task} all {thing} per month.",
    ),
    "math": (
        "A shop sells {number} {thing} at {small} dollars each. How many dollars is that in total?",
        "Compute {number} * {small} + {number}.",
        "Prove rigorously that the sum of {small} consecutive {thing} has the stated invariant, in the general case.",
        "Derive the eigenvalues of the {small} by {small} matrix with {number} on its diagonal, step by step.",
    ),
    "writing": (
        "Write me a haiku about {thing}.",
        "Draft a polite email to {person} about the late {thing}.",
        "Write an essay of {number} words, in the tone of {person}, on {thing} and their history, in detail.",
        "Rewrite this paragraph in plain words: {thing} are, as {person} says, indispensable.",
    ),
    "analysis": (
        "Compare {thing} and {other}: pros and cons, in brief.",
        "Summarise what {person} should know about {thing}.",
        "Analyse in depth the risks, trade-offs and implications of replacing {thing} by {other} for {person}.",
        "Evaluate the strategy of {person} for {thing} and give recommendations.",
    ),
    "chat": (
        "Hi! How are you today?",
        "Thanks, {person} liked it. Tell me a joke about {thing}.",
        "Good morning! What is your favourite kind of {thing}?",
        "Hello, I am bored and it is {number} degrees outside.",
    ),
}
WORDS: Mapping[str, Sequence[str]] = {
    "task": ("sorts", "filters", "counts", "groups", "merges", "reverses"),
    "thing": ("invoices", "bicycles", "lighthouses", "orders", "planets", "tea cups", "sensors", "tickets", "maps"),
    "other": ("spreadsheets", "trains", "satellites", "contracts", "gardens", "batteries"),
    "language": ("Python", "JavaScript", "Rust", "Java"),
    "structure": ("queue", "hash map", "priority queue", "ring buffer"),
    "person": ("my landlord", "the board", "a new colleague", "our customers", "the mayor"),
    "snippet": ("def f(x): return x[1:0]", "for i in range(10) print(i)", "while true: total = total"),
}


def prompts(seed: int) -> Iterator[str]:
    """Without end; the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311  demonstration, not a secret
    while True:
        template = chance.choice(TEMPLATES[chance.choice(list(TEMPLATES))])
        words = {name: chance.choice(choices) for name, choices in WORDS.items()}
        yield template.format(**words, number=chance.randint(12, 980), small=chance.randint(2, 9))
