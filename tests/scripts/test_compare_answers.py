"""Two sets of answers side by side: everything said is on the page, as text, with the grades of one judge."""

import re
from html.parser import HTMLParser

import pytest

from experiments.judging.answers import Answer
from experiments.judging.grading import Judgment, gradings
from experiments.judging.questions import find_bench
from experiments.lines import write_lines
from scripts import compare_answers, judge
from tests.judging import MT, VICUNA, answers, finished, serving, write_benches


class Page(HTMLParser):
    """articles: each with its attributes and all its text; text: the whole page's; tags: all; cells: of every row."""

    def __init__(self, html):
        super().__init__()
        self.articles, self.text, self.tags, self.cells, self.inside = [], "", [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "article":
            self.articles.append(dict(attributes) | {"text": ""})
            self.inside = True
        elif tag == "tr":
            self.cells.append([])
        elif tag == "td":
            self.cells[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "article"

    def handle_data(self, data):
        self.text += data
        if self.inside:
            self.articles[-1]["text"] += data
        if self.tags[-1:] == ["td"] and self.cells[-1]:
            self.cells[-1][-1] += data.strip()


@pytest.fixture
def comparing(tmp_path, monkeypatch):
    """comparing(scores of A, scores of B, ...) -> the page of two files of answers to MT-Bench; a score a turn, by
    question and turn, or None: not judged."""
    root = write_benches(tmp_path / "assets")
    monkeypatch.setenv("FOURIERFT_ASSETS", str(root))
    bench = find_bench(root, "mt_bench")

    def comparing(a, b, said=("answer a", "answer b"), judges=("j", "j"), words="because", options=()):
        for name, scores, text, by in zip("ab", (a, b), said, judges, strict=True):
            given = answers("mt_bench", model=name, said=text)
            write_lines(tmp_path / f"{name}/model_answer/{name}.jsonl", given)
            grades = [
                Judgment(
                    question_id=one.question_id,
                    model=name,
                    judge=(by, one.prompt),
                    user_prompt=one.user,
                    judgment=f"{words} of {name} {one.question_id}.{one.turn}",
                    score=scores.get((one.question_id, one.turn), 5),
                    turn=one.turn,
                    tstamp=1.0,
                )
                for one in gradings(bench, given)
                if scores is not None
            ]
            if grades:
                write_lines(tmp_path / f"{name}/model_judgment/{by}_single.{name}.jsonl", grades)
        files = [str(tmp_path / f"{name}/model_answer/{name}.jsonl") for name in "ab"]
        out = tmp_path / "page.html"
        code = compare_answers.main([*files, "--bench", "mt_bench", "--out", str(out), *options])
        return Page(out.read_text()) if code == 0 else None

    return comparing


def test_every_answer_question_reference_and_judgment_is_on_the_page(comparing):
    page = comparing({(81, 1): 9, (81, 2): 7, (131, 1): -1}, {(81, 1): 4, (111, 2): 8})
    assert [article["id"] for article in page.articles] == [f"mt_bench-{name}" for name, _ in MT]
    for (name, category), article in zip(MT, page.articles, strict=True):
        assert article["data-category"] == category
        for turn in (1, 2):
            for text in ("question {}", "answer a {}", "answer b {}", "because of a {}", "because of b {}"):
                assert text.format(f"{name}.{turn}") in article["text"]
            assert (f"right {name}.{turn}" in article["text"]) == (category in ("reasoning", "math"))
    assert [article["data-outcome"] for article in page.articles] == ["a", "tie", "b", "tie"]
    assert [float(article["data-difference"]) for article in page.articles] == [3.5, 0, -1.5, 0]


def test_the_summary_counts_means_wins_ties_and_losses(comparing):
    page = comparing({(81, 1): 9, (81, 2): 7, (131, 1): -1}, {(81, 1): 4, (111, 2): 8})
    rows = {tuple(cells[:2]): cells[2:] for cells in page.cells if cells}
    assert rows["mt_bench", "all"] == ["5.86", "5.25", "+0.61", "2", "4", "1"]  # 41 / 7 and 42 / 8
    assert rows["mt_bench", "turn 2"] == ["5.50", "5.75", "−0.25", "1", "2", "1"]
    assert rows["mt_bench", "writing"] == ["8.00", "4.50", "+3.50", "2", "0", "0"]
    assert rows["mt_bench", "extraction"] == ["5.00", "5.00", "+0.00", "0", "1", "0"]
    assert "Judge: j; 8 judgments, 1 without a score." in page.text


def test_what_is_said_is_text_and_never_markup_and_the_page_loads_nothing(comparing, tmp_path):
    evil = "</article><script>alert(1)</script><img src=http://x/ onerror=alert(1)> {{ 7 * 7 }} \" '"
    page = comparing({}, {}, said=(evil, "fine"), words=evil)
    assert page.tags.count("script") == 1 and "img" not in page.tags and len(page.articles) == len(MT)
    assert page.articles[0]["text"].count(evil) == 6  # each turn: A's answer, and the judge's words of both
    html = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in html and not re.search(r"<[^>]*\b(src|href)=", html)


def test_without_grades_the_answers_stand_alone(comparing):
    page = comparing(None, None)
    assert page.text.count("Not judged.") == 2 and not page.cells
    assert {article["data-outcome"] for article in page.articles} == {"none"}
    page = comparing({}, None)
    rows = {tuple(cells[:2]): cells[2:] for cells in page.cells if cells}
    assert rows["mt_bench", "all"] == ["5.00", "—", "—", "0", "0", "0"]


def test_judged_records_show_the_runs_answers_and_their_judge(tmp_path, monkeypatch, capsys):
    write_benches(tmp_path / "assets")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FOURIERFT_ASSETS", "~/assets")
    monkeypatch.chdir(tmp_path)
    runs = [finished(tmp_path, {"last": said}, seed=seed) for seed, said in enumerate(("mine", "yours"))]
    with serving(monkeypatch, lambda _, body: f"[[{8 if 'mine' in body['messages'][1]['content'] else 3}]]"):
        assert judge.main([*map(str, runs), "--model", "j"]) == 0
    for records in (sorted((tmp_path / "results/judged").rglob("*.json")), runs):
        assert compare_answers.main([*map(str, records), "--out", "page.html"]) == 0
        page = Page((tmp_path / "page.html").read_text())
        assert len(page.articles) == len(MT) + len(VICUNA)
        assert {article["data-outcome"] for article in page.articles} == {"a"}
        for words in (
            "llama_mini, fourierft, seed 0, scale mini, last epoch",
            "24,000 parameters",
            "j@judge-2024@agreed",
        ):
            assert words in page.text
    assert compare_answers.main([*map(str, runs), "--runs", "elsewhere", "--out", "page.html"]) == 2
    assert "elsewhere/instruct" in capsys.readouterr().err


def test_grades_by_different_judges_are_not_compared(comparing, capsys):
    assert comparing({}, {}, judges=("j", "k")) is None
    assert "do not compare: j, k" in capsys.readouterr().err
    assert comparing({}, {}, judges=("k", "j")) is None  # now both have both
    assert "judged by j, k; choose one of them by --judge" in capsys.readouterr().err
    assert "Judge: k;" in comparing({}, {}, judges=("j", "k"), options=["--judge", "k"]).text
    assert comparing({}, {}, options=["--judge", "l"]) is None
    assert "no judgments by l" in capsys.readouterr().err


def test_grades_of_other_answers_are_refused(comparing, tmp_path, capsys):
    comparing({}, {})
    assert comparing(None, None, said=("another", "answer b")) is None
    assert "question 81 was judged by another answer" in capsys.readouterr().err


def test_files_that_do_not_fit_are_named(comparing, tmp_path, capsys):
    assert compare_answers.main(["a.jsonl", "b.jsonl", "--out", "x.html"]) == 2
    assert "give --bench" in capsys.readouterr().err
    comparing({}, {})
    write_lines(tmp_path / "other.jsonl", [Answer.of(1, ["a"], "m")])
    file = str(tmp_path / "a/model_answer/a.jsonl")
    arguments = [file, str(tmp_path / "other.jsonl"), "--bench", "mt_bench", "--out", str(tmp_path / "x.html")]
    assert compare_answers.main(arguments) == 2 and not (tmp_path / "x.html").exists()
    assert "answer no question both" in capsys.readouterr().err
