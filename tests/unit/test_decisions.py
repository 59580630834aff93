"""The index of decision records: each is in it once, under the name that it gives itself."""

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
RECORDS = sorted(path.name for path in FOLDER.glob("[0-9]*.md"))
ENTRY = re.compile(r"^- \[(\d+)\. (.+?)\]\((\d{4}-[\w-]+\.md)\)", re.MULTILINE)


def test_every_record_is_in_the_index_once() -> None:
    assert sorted(name for _, _, name in ENTRY.findall((FOLDER / "README.md").read_text())) == RECORDS


def test_the_index_gives_each_its_own_number_and_title() -> None:
    for number, title, name in ENTRY.findall((FOLDER / "README.md").read_text()):
        heading = (FOLDER / name).read_text().partition("\n")[0]
        assert int(number) == int(name[:4])
        assert re.sub(r"^# \d+[.:] ", "", heading) == title


def test_no_number_is_given_twice() -> None:
    numbers = [name[:4] for name in RECORDS]
    assert len(set(numbers)) == len(numbers)
