"""Tables: the columns with text, and which they are."""

from pathlib import Path

import pytest

from tests.support.formats import read_file
from tinyedge.core.errors import CorpusError
from tinyedge.corpus.read_settings import ReadSettings
from tinyedge.corpus.reader import read_documents


@pytest.mark.parametrize(
    ("name", "content", "lines", "fields"),
    [
        (
            "a.csv",
            'id;title;text\n1;x;"A way; to the ""sea"".\nAnd back."\n2;y;Second.\n',
            ['A way; to the "sea".', "And back.", "Second."],
            ["text"],
        ),
        (
            "a.csv",
            "How are you today?,¿Cómo estás hoy?\nI am fine thanks.,Estoy bien hoy.\n",
            ["How are you today?", "¿Cómo estás hoy?", "I am fine thanks.", "Estoy bien hoy."],
            ["column 1", "column 2"],
        ),
        (
            "a.tsv",
            'date\tname\tReview\n2020-01-01\tBob\t"A very good book\n2020-01-02\tAl\tI did not like it\n',
            ['"A very good book', "I did not like it"],
            ["Review"],
        ),
        (
            "a.csv",
            "id,句子\n1,今天天气很好我们去海边\n2,明天也会是晴天吗\n",
            ["今天天气很好我们去海边", "明天也会是晴天吗"],
            ["句子"],
        ),
    ],
)
def test_columns_with_text(
    tmp_path: Path, name: str, content: str, lines: list[str], fields: list[str]
) -> None:
    found, entry = read_file(tmp_path / name, content)
    assert found == lines
    assert entry["fields"] == fields


@pytest.mark.parametrize(
    ("rows", "odd"), [('1,"He left.\n2,She stayed.\n', 1), ('1,"He left."\n2,"She ""stayed""."\n', 0)]
)
def test_a_quotation_mark_without_a_partner_is_noted(tmp_path: Path, rows: str, odd: int) -> None:
    _, entry = read_file(tmp_path / "a.csv", f"id,text\n{rows}")
    assert entry.get("odd_quotes", 0) == odd


def test_a_column_can_be_chosen(tmp_path: Path) -> None:
    content = "text,other\nSome text.,Some other.\n"
    lines, entry = read_file(tmp_path / "a.csv", content, field="other")
    assert lines == ["Some other."]
    assert entry == {"fields": ["other"], "other_fields": ["text"]}
    with pytest.raises(CorpusError, match="no column body") as failure:
        read_file(tmp_path / "a.csv", content, field="body")
    assert "--field: text, other" in (failure.value.hint or "")
    assert read_file(tmp_path / "a.jsonl", '{"text": "a", "body": "The body."}\n', field="body")[0] == [
        "The body."
    ]
    records = '{"messages": [{"role": "user", "content": "Hi."}, {"role": "bot", "content": "Hello."}]}\n'
    assert read_file(tmp_path / "b.jsonl", records, field="messages")[0] == ["Hi.", "Hello."]


def test_a_table_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no column with text"):
        read_file(tmp_path / "a.csv", "a,b\n1,2\n3,4\n")


def test_long_rows_are_documents_and_short_rows_are_put_together(tmp_path: Path) -> None:
    long = tmp_path / "long.csv"
    long.write_text("text\n" + "".join(f"Row {number}: {'the sea was calm ' * 20}.\n" for number in range(5)))
    assert len(list(read_documents([long]))) == 5
    short = tmp_path / "short.csv"
    short.write_text("text\n" + "".join(f"Row number {number} of the sea.\n" for number in range(300)))
    assert [len(document.sentences) > 100 for document in read_documents([short])] == [True, True]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra documents is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra documents is not installed")
    talk = [{"role": "user", "content": "How is the sea today?"}, {"role": "bot", "content": "It is calm."}]
    parquet.write_table(pyarrow.table({"id": [1], "conversation": [talk]}), tmp_path / "a.parquet")
    lines, entry = read_file(tmp_path / "a.parquet")
    assert lines == ["How is the sea today?", "It is calm."]
    assert entry == {"fields": ["conversation"], "other_fields": ["id"]}
    parquet.write_table(
        pyarrow.table({"text": ["One.", None], "url": ["http://x.org"] * 2}), tmp_path / "b.parquet"
    )
    assert read_file(tmp_path / "b.parquet")[0] == ["One."]


@pytest.mark.parametrize(
    ("content", "lines", "fields"),
    [
        (
            '{"id": "1", "full_text": "The sea."}\n{"full_text": "A boat."}\n',
            ["The sea.", "A boat."],
            ["full_text"],
        ),
        ('{"text": null, "content": "The sea."}\n', ["The sea."], ["content"]),
        ('{"messages": [{"role": "user", "content": "Hi."}], "id": 3}\n', ["Hi."], ["messages"]),
        (
            '{"q": "How is the sea today?", "a": "It is calm today."}\n{"q": "Is there a boat?"}\n',
            ["How is the sea today?", "It is calm today.", "Is there a boat?"],
            ["q", "a"],
        ),
    ],
)
def test_fields_of_records_with_text(
    tmp_path: Path, content: str, lines: list[str], fields: list[str]
) -> None:
    found, entry = read_file(tmp_path / "a.jsonl", content)
    assert found == lines
    assert entry["fields"] == fields


def test_files_without_the_chosen_field_are_read_as_usual(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("body,text\nThe body is here.,The text is here.\n")
    (tmp_path / "b.jsonl").write_text('{"text": "The other text is here."}\n')
    (tmp_path / "c.txt").write_text("A plain text is here.\n")
    reported: list[str] = []
    documents = list(read_documents([tmp_path], reported.append, ReadSettings(field="body")))
    assert [document.sentences[0] for document in documents] == [
        "The body is here.",
        "The other text is here.",
        "A plain text is here.",
    ]
    assert f"  {tmp_path / 'b.jsonl'}: text of text (has no field body)" in reported
    with pytest.raises(CorpusError, match="no column body"):
        list(read_documents([tmp_path / "b.jsonl"], settings=ReadSettings(field="body")))
    with pytest.raises(CorpusError, match="no file has a field nobody") as failure:
        list(read_documents([tmp_path], settings=ReadSettings(field="nobody")))
    assert failure.value.hint == "choose one with --field: text, body"
