"""The page to browse: what it holds, that records are data in it, the same bytes; in a browser, all that it does."""

import json
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote, urlencode

import pytest

from experiments.record.machine import Hardware
from scripts import page
from tests.browser import Browser, needs_chromium
from tests.handmade import MACHINE, PAPER, e2e, graded, image, instruct, leave, run

FOLDERS = ("records", "judged", "studies", "search", "bench", "parameters")
EVIL = "</script><img src=x onerror=\"window.broken='yes'\"><script>window.broken='yes'</script>"
VOID = {"meta", "link", "input", "br", "img"}


class Made(HTMLParser):
    """A page that was made: tags, each once closed; data, the JSON; rows, its rows as dicts."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.text = [], [], path.read_text(encoding="utf-8")
        self.feed(self.text)
        assert not self.open, f"never closed: {self.open}"
        (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', self.text, re.DOTALL)
        self.data = json.loads(found)
        self.rows = [dict(zip(self.data["fields"], values, strict=True)) for values in self.data["rows"]]

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def ours(self, **fields):
        """Our rows with these fields."""
        return [row for row in self.rows if row["by"] == "ours" and fields.items() <= row.items()]


def make(root, *made, judged=(), study=(), code=0):
    """Leave the records below `root`, make the page of them there, and return its path."""
    leave(root / "records", *made)
    leave(root / "judged", *judged)
    leave(root / "studies" / "scaling" / "records", *study)
    options = [word for name in FOLDERS for word in (f"--{name}", str(root / name))]
    assert page.main([*options, "--paper", str(PAPER), "--out", str(root / "page.html")]) == code
    return root / "page.html"


def test_every_run_and_every_printed_row_is_there_and_links_to_its_file(tmp_path):
    study = run(0.7, n=50, adapter=1200, scale="mini", rank=(24, 50))
    ranked = run(rank=(24, 700))
    path = make(tmp_path, ranked, run(status="oom", seed=1), run(train={"max_steps": 3}, seed=2), study=[study, ranked])
    made = Made(path)
    assert len(made.ours()) == 4, "a record that a study copied stands once"
    assert [row["title"] for row in made.ours()] == [
        "fourierft (n=1000)",
        "fourierft (n=1000)",
        "fourierft (cut short)",
        "fourierft (n=50)",
    ]
    assert {(row["status"], row["error"]) for row in made.ours()} == {(None, None), ("oom", "it broke")}
    for row in made.rows:
        assert (tmp_path / unquote(row["id"].split("?")[0])).is_file()
    assert len({row["id"] for row in made.rows}) == len(made.rows)
    printed = [row for row in made.rows if row["by"] == "paper" and row["model"] == "gpt2_medium"]
    assert {(row["title"], row["test"]) for row in printed} >= {("fourierft (n=1000)", 69.1), ("lora (r=4)", 68.9)}
    assert next(row for row in printed if row["method"] == "full")["printed"]["NIST"] == "8.62"
    assert "not yet measured" in made.text and "Quality on images" in made.text


def test_scores_stand_in_the_units_of_the_tables(tmp_path):
    answered = instruct(1.5, epochs=(1.0, 2.0), scale="mini")
    found = [run(0.7891), e2e(0.6, scale="mini"), image(0.9012, scale="mini"), answered]
    made = Made(make(tmp_path, *found, judged=[graded(answered, 4.5)]))

    def said(task):
        (row,) = made.ours(task=task)
        return [row[key] for key in ("score", "metric", "test", "measure", "falls")]

    assert said("RTE") == [78.91, "accuracy", None, None, None]
    assert said("e2e") == [50.0, "inverse_perplexity", 60.0, "BLEU", None]
    assert said("CIFAR10") == [99.0, "accuracy", 90.12, "accuracy", None]
    assert said("instruct") == [1.0, "loss", 1.5, "Loss", ["score", "test"]]
    assert said("instruct, judged") == [36.788, "inverse_perplexity", 4.5, "MT-Bench", None]


def test_a_long_curve_is_thinned_and_keeps_its_best_and_its_last_epoch(tmp_path):
    epochs = [{"accuracy": 0.9 if at == 78 else 0.5, "loss": 1 / 3} for at in range(1, 102)]
    (row,) = Made(make(tmp_path, run(epochs=epochs))).ours()
    curves = row["curves"]
    assert len(curves["epoch"]) <= 22 and curves["epoch"][-1] == 101 and curves["loss"][0] == 0.3333
    assert curves["accuracy"][curves["epoch"].index(78)] == 0.9


def hostile():
    """Runs whose every name is markup, and one that failed with markup."""
    named = run(0.6, scale="small", model=EVIL, rank=(2, 8), recipe={"source": EVIL})
    failed = run(scale="small", status="failed", seed=3).model_copy(update={"error": EVIL})
    compared = run(0.5, scale="small", model=EVIL, method="lora", rank=(2, 8))  # so that a claim names the model
    return [named.model_copy(update={"hardware": Hardware(**{**MACHINE, "cpu": EVIL})}), failed, compared]


def test_what_comes_of_records_is_data_and_never_markup(tmp_path):
    made = Made(make(tmp_path, *hostile()))
    assert made.tags.count("script") == 2 and "img" not in made.tags
    assert {row["model"] for row in made.ours()} == {EVIL, "roberta_base"} and made.ours(error=EVIL)
    assert "small, &lt;/script&gt;&lt;img" in made.text, "the sentences of a claim too"
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made.text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    assert not re.search(r"<[^>]*\s(src|href)=", made.text), "nothing is loaded"


def test_the_same_records_give_the_same_bytes_wherever_the_command_runs(tmp_path, monkeypatch):
    found = [run(0.5 + seed / 100, seed=seed) for seed in range(3)]
    first = make(tmp_path / "a", *found).read_bytes()
    assert make(tmp_path / "a").read_bytes() == first
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PAPER, "paper")
    other = make(tmp_path / "b", *reversed(found))
    places = [re.sub(rb'"[^"]*(?=/table\d_)', b'"', text) for text in (first, other.read_bytes())]
    assert places[0] == places[1]


def test_a_damaged_record_is_named_and_the_others_are_there(tmp_path, capsys):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "broken.json").write_text("{")
    made = Made(make(tmp_path, run(), code=2))
    said = capsys.readouterr().err
    assert said.startswith("page: left out: ") and "broken.json" in said and said.count("\n") == 1
    assert len(made.ours()) == 1


# --- in a browser ---------------------------------------------------------------------------------------------------

COMPARED = {"head_only": (0.3, 0), "fourierft": (0.5, 24000), "bitfit": (0.4, 10**5), "lora": (0.8, 294912)}
COMPARED["full"] = (0.7, 124 * 10**6)
FRONT = urlencode({"task": "RTE", "scale": "paper", "paper": "0"})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page of five methods on RTE, of which three make the front, of losses, and of hostile records."""
    methods = [run(score, method=name, adapter=count) for name, (score, count) in COMPARED.items()]
    methods[1] = run(0.5, rank=(4, 700), epochs=[{"accuracy": s, "loss": 1 - s} for s in (0.4, 0.5, 0.45)])
    losses = [instruct(1.5, epochs=(2.0, n), scale="mini", method=m) for m, n in (("fourierft", 1.2), ("full", 1.6))]
    return make(tmp_path_factory.mktemp("page"), *methods, *losses, *hostile())


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium, made):
    """open(state) -> the browser with the page, which must not complain until the test ends."""

    def open_(state="", width=1280):
        chromium.size(width, 900)
        chromium.load(made, state)
        return chromium

    yield open_
    said = list(chromium.said)
    chromium.said.clear()
    assert said == [] and chromium.value("window.broken ?? null") is None, "a complaint, or a record's script ran"


def column(browser, name):
    """The texts of one column of the table, top down."""
    heads = "[...document.querySelectorAll('#table th')].map(head => head.dataset.key)"
    return browser.value(
        f"[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[{heads}.indexOf({name!r})].textContent)"
    )


def choose(browser, name, value):
    """Set a control as a person does, and wait until the page has followed."""
    control = f"document.getElementById('filters').elements[{name!r}]"
    browser.value(f"{control}.value = {value!r}, {control}.dispatchEvent(new Event('input', {{ bubbles: true }}))")
    browser.until(f"state[{name!r}] === {value!r}")


@needs_chromium
def test_it_loads_and_sorts_by_number_and_by_name_with_what_is_missing_last(browser, made):
    page = browser()
    assert len(column(page, "task")) == len(Made(made).rows)
    for order in ("ascending", "descending"):
        page.click("th[data-key=adapter] button")
        assert page.value("document.querySelector('th[data-key=adapter]').ariaSort") == order
        counts = [int(text.replace(",", "")) for text in column(page, "adapter") if text]
        assert counts == sorted(counts, reverse=order == "descending") and len(set(counts)) > 9
        assert column(page, "adapter")[: len(counts)].count("") == 0
    page.click("th[data-key=title] button")
    assert column(page, "title")[0].startswith("adalora") and column(page, "title")[-1].startswith("lora_qv")


@needs_chromium
def test_it_filters_and_the_address_holds_the_view(browser, made):
    page = browser()
    for name, value in {"task": "RTE", "scale": "paper", "method": "lora", "text": "SEED0"}.items():
        choose(page, name, value)
    assert column(page, "by") == ["ours"]
    assert page.value("location.hash") == "#task=RTE&method=lora&scale=paper&text=SEED0"
    page = browser("task=RTE&method=lora&scale=paper")
    assert sorted(column(page, "by")) == ["ours", "paper", "paper"]
    page.click("[name=paper]")
    page.until("state.paper === '0'")
    assert column(page, "by") == ["ours"] and "paper=0" in page.value("location.hash")
    page.click("#clear")
    assert len(column(page, "by")) == len(Made(made).rows)
    page = browser("x=nonsense&sort=nonsense&task=none&__proto__=1")
    assert "No row" in page.value("document.getElementById('count').textContent")


POINTS = "[...document.querySelectorAll('#plot .point')]"


def front(browser):
    """The methods at the corners of the front, from the left."""
    corners = re.findall(
        r"[MH]([\d.]+)(?: |V)([\d.]+)", browser.value("document.querySelector('#plot .front').getAttribute('d')")
    )
    marks = browser.value(f"{POINTS}.map(one => [one.getAttribute('transform'), one.ariaLabel])")
    places = {tuple(re.findall(r"[\d.]+", place)): label.split(",")[0].split(" ")[0] for place, label in marks}
    return [places[corner] for corner in corners]


@needs_chromium
def test_it_plots_the_front_of_one_task_and_scale_and_names_points(browser):
    page = browser(FRONT)
    assert page.value(f"{POINTS}.length") == len(COMPARED)
    assert front(page) == ["head_only", "fourierft", "lora"]
    names = "[...document.querySelectorAll('#plot .name')].map(one => one.textContent)"
    assert page.value(names) == ["FourierFT", "head_only", "lora"]
    ticks = page.value("[...document.querySelectorAll('#plot text')].map(one => one.textContent)")
    assert {"0", "100K", "1M", "10M"} <= set(ticks), "logarithmic, with zero beside it"
    signs = page.value(f"{POINTS}.map(one => one.getAttribute('d') + one.className.baseVal)")
    assert len(set(signs)) == len(COMPARED), "one colour and one shape for each method"
    page.value(f"{POINTS}[0].focus()")
    page.press("ArrowRight", 39)
    note = page.value("document.querySelector('#plot .note').textContent")
    assert note.startswith("fourierft (n=1000), roberta_base, RTE, seed 0: Adapter parameters 24,000, Score 50.00")
    page.press("Enter", 13)
    assert page.value("document.querySelector('dialog h2').textContent").startswith("fourierft")
    page = browser("task=instruct&scale=mini")
    assert front(page) == ["fourierft"], "of losses the lower is better"
    page = browser(f"{FRONT}&x=seed&y=adapter")
    assert page.value(f"{POINTS}.length") == len(COMPARED)
    page = browser("task=RTE")
    assert "hollow" in page.value("document.getElementById('legend').textContent"), "the paper's rows are there"
    assert page.value("document.querySelector('#plot .front')") is None
    assert "needs one scale" in page.value("document.getElementById('front').textContent")


@needs_chromium
def test_it_opens_a_run_with_its_record_curves_ranks_and_configuration_and_escape_closes_it(browser, made):
    page, shown = browser(f"{FRONT}&method=fourierft"), "document.getElementById('panel')"
    page.click("#table tbody button")
    (row,) = [one for one in Made(made).ours(method="fourierft", task="RTE") if one["scale"] == "paper"]
    assert page.value(f"{shown}.querySelector('a').getAttribute('href')") == row["id"]
    assert (made.parent / unquote(row["id"])).is_file()
    titles = page.value(f"[...{shown}.querySelectorAll('figure h3')].map(one => one.textContent)")
    assert titles == ["loss, by epoch", "accuracy, by epoch", "Rank of ΔW, matrix by matrix"]
    marks = page.value(
        f"[...{shown}.querySelectorAll('figure > svg')].map(one => one.querySelectorAll('.point').length)"
    )
    assert marks == [3, 3, 8], "three epochs; two ranks of four matrices"
    assert "method.n: 1000\n" in page.value(f"{shown}.querySelector('pre').textContent")
    assert urlencode({"run": row["id"]}) in page.value("location.hash")
    page.press("Escape", 27)
    page.until(f"!{shown}.open && !location.hash.includes('run=')")
    assert page.value("document.activeElement.closest('tbody') !== null"), "the focus is where it was"
    page = browser(urlencode({"run": row["id"]}))
    assert page.value(f"{shown}.open"), "a link opens it too"
    page = browser("run=records/none.json")
    assert "no records/none.json" in page.value(f"{shown}.textContent")


@needs_chromium
def test_a_failed_run_tells_why_and_a_hostile_record_stays_text(browser):
    page = browser("scale=small&text=failed")
    assert column(page, "score") == ["failed"]
    page.click("#table tbody button")
    assert EVIL in page.value("document.getElementById('panel').textContent")
    page = browser("scale=small&method=fourierft&text=img")
    page.click("#table tbody tr td:nth-child(3)")
    assert EVIL in page.value("document.querySelector('#panel pre').textContent").replace('\\"', '"')
    assert EVIL in page.value("document.querySelector('#panel h2').textContent")
    assert page.value("document.images.length") == 0
    page.value("document.body.append(Object.assign(document.createElement('script'), { text: 'window.broken = 1' }))")
    assert page.value("window.broken ?? null") is None, "the policy refuses any other script"
    (refusal,) = page.said
    page.said.clear()
    assert "Content Security Policy" in refusal["entry"]["text"]


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_as_wide_as_the_screen(browser, width):
    page = browser(FRONT, width)
    assert page.value("document.documentElement.scrollWidth") <= width
    page.click("#table tbody button")
    assert page.value("document.getElementById('panel').scrollWidth") <= width
