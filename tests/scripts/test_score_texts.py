"""Texts are scored from files, whatever program saved them; files that do not match are named."""

import json

import pytest

from scripts import score_texts

OUTPUTS = ["Zizzi is riverside .", "This is\u2028Cotto\u0085."]
GROUPS = [["Zizzi is riverside .", "By the river is Zizzi ."], ["This is Cotto ."]]
ROWS = [json.dumps({"output": a, "references": b}, ensure_ascii=False) for a, b in zip(OUTPUTS, GROUPS, strict=True)]
FORMS = {
    "plain": lambda lines: "\n".join([*lines, ""]).encode(),
    "byte-order mark": lambda lines: "\n".join([*lines, ""]).encode("utf-8-sig"),
    "of Windows": lambda lines: "\r\n".join([*lines, ""]).encode("utf-8-sig"),
    "unended": lambda lines: "\n".join(lines).encode(),
}


@pytest.fixture(autouse=True)
def one_thread_of_meteor(monkeypatch):
    """METEOR 1.5 takes seconds to start, and test_e2e_metrics.py has it."""
    monkeypatch.setattr("experiments.metrics.meteor.missing", lambda: "Java, in this test")


@pytest.fixture
def score(tmp_path, capsys):
    """score(content, ...) -> exit code, what was printed and the errors, of the command on files of these contents."""

    def score(*contents):
        files = [tmp_path / name for name in ("outputs", "references")[: len(contents)]]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return score_texts.main(list(map(str, files))), *capsys.readouterr()

    return score


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_file_changes_no_score(score, form):
    references = FORMS[form](["\n\n".join("\n".join(group) for group in GROUPS)])
    for contents in ([FORMS[form](OUTPUTS), references], [FORMS[form](ROWS)]):
        code, printed, _ = score(*contents)
        assert code == 0
        assert "texts        2\nbleu         1.0000" in printed and "rouge_l      1.0000" in printed


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (["a\n", "a\n\nb\n"], "references: 2 groups of references for the 1 texts of"),
        (["a\n"], "outputs, line 1: the line: Invalid JSON"),
        (['{"output": "a", "references": ["a"]}\n{"output": 1, "references": ["a"]}'], "outputs, line 2: output: "),
        (['{"output": "a", "references": "a"}'], "outputs, line 1: references: "),
        (['{"output": "a", "references": []}'], "outputs, line 1: references: "),
        (['{"output": "a"}'], "outputs, line 1: references: Field required"),
        ([b"a\n\xff\n", "a"], "outputs, line 2: cannot be read ("),
        (["a\n".encode("utf-16")], "outputs, line 1: cannot be read ("),
        (["", ""], "No outputs to score"),
        ([""], "outputs: holds no line"),
    ],
)
def test_what_cannot_be_scored_is_named(score, contents, words):
    code, _, said = score(*contents)
    assert code == 2 and words in said
