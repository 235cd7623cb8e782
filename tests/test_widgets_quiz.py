"""StuffThingsQuiz: what is asked and counted, then played in JupyterLab."""

from typing import Any

import numpy as np
import pytest
import traitlets
from widget_cases import from_page, image, read_ids, tissue_map, void_map

from pano_med.widgets import StuffThingsQuiz


def test_each_class_is_asked_and_the_order_is_always_the_same() -> None:
    quiz, again = StuffThingsQuiz(image(), tissue_map(), count=4), StuffThingsQuiz(image(), tissue_map(), count=4)
    assert quiz.questions == again.questions
    assert len(quiz.questions) == 4
    assert {1, 2, 5} <= set(quiz.questions), "the largest of each class come first"
    assert quiz.asked == quiz.questions[0]
    assert sorted(StuffThingsQuiz(image(), tissue_map(), count=99).questions) == [1, 2, 3, 4, 5]
    assert StuffThingsQuiz(image(), tissue_map(), regions=[4, 1]).questions == [4, 1]


def test_answers_are_counted() -> None:
    quiz = StuffThingsQuiz(image(), tissue_map(first=11))
    np.testing.assert_array_equal(read_ids(quiz.panoptic["ids"]), tissue_map().ids)
    from_page(quiz, answers={"11": "stuff", "13": "thing", "12": "thing"}, asked=12)
    assert (quiz.correct, quiz.asked, quiz.fault) == (2, 12, "")
    quiz.answers = {}
    assert quiz.correct == 0


def test_answers_that_are_none_are_refused() -> None:
    quiz = StuffThingsQuiz(image(), tissue_map())
    with pytest.raises(traitlets.TraitError, match=r"'stuff' or 'thing' for ids of segments, got \{'1': 'maybe'\}"):
        quiz.answers = {"1": "maybe"}
    with pytest.raises(traitlets.TraitError, match=r"for ids of segments, got \['88'\]"):
        quiz.answers = {"88": "thing"}
    from_page(quiz, answers={"88": "thing"})
    assert quiz.fault.startswith("TraitError: `answers` says")
    assert quiz.answers == {}


def test_what_cannot_be_asked_is_named() -> None:
    with pytest.raises(ValueError, match=r"a quiz needs at least one segment, this map is void everywhere"):
        StuffThingsQuiz(image(4, 4), void_map(4, 4))
    with pytest.raises(ValueError, match=r"`regions` are ids of segments, got \[9\]; ids there: \[1, 2, 3, 4, 5\]"):
        StuffThingsQuiz(image(), tissue_map(), regions=[1, 9])
    with pytest.raises(ValueError, match=r"`regions` are ids of segments, got none"):
        StuffThingsQuiz(image(), tissue_map(), regions=[])
    with pytest.raises(ValueError, match=r"`count` is how many regions are asked, at least 1, got 0"):
        StuffThingsQuiz(image(), tissue_map(), count=0)
    with pytest.raises(ValueError, match=r"image and `panoptic` must have one size"):
        StuffThingsQuiz(image(5), tissue_map())


def test_the_still_picture_outlines_but_does_not_tell() -> None:
    picture = image()
    kept = picture.copy()
    quiz = StuffThingsQuiz(picture, tissue_map(), regions=[3])
    drawn = quiz.still()
    changed = (drawn != picture).any(-1)
    assert changed.any()
    assert not changed[tissue_map().ids != 3].any()
    assert set(np.unique(drawn[changed])) == {0, 255}
    np.testing.assert_array_equal(picture, kept)
    assert quiz.alt().endswith("with 1 outlined regions; for each the live quiz asks: stuff or thing?")


# ---- in a browser


@pytest.mark.browser
def test_played_in_jupyterlab(lab: Any) -> None:
    from drive_quiz import drive_quiz
    from playwright.sync_api import expect

    cells = [
        "from pano_med.synthetic import he_tile\nfrom pano_med.widgets import StuffThingsQuiz\n"
        "tile = he_tile(3, (128, 128))\nquiz = StuffThingsQuiz(tile.image, tile.truth, count=5)\nquiz",
        "kinds = {s.id: 'thing' if s in tile.truth.things else 'stuff' for s in tile.truth.segments}\n"
        "print(quiz.correct, sum(kinds[int(i)] == a for i, a in quiz.answers.items()), len(quiz.answers), quiz.shown)",
        "quiz.answers, quiz.shown = {}, False",
    ]
    with lab.write("quiz", *cells) as notebook:
        notebook.run(0)
        widget = notebook.output(0).locator(".pano-quiz")
        drive_quiz(notebook, widget)
        correct, right, answered, shown = notebook.run(1)[0]["text"].split()
        assert correct == right
        assert int(answered) >= 5
        assert shown == "True"
        assert f"{correct} of {answered} right" in widget.locator(".pano-points").inner_text()
        notebook.run(2)
        expect(widget.locator(".pano-points")).to_have_text("no answer yet, 5 to go")
        expect(widget.locator(".pano-triptych")).to_be_hidden()
        notebook.check_clean()


@pytest.mark.browser
def test_feedback_says_why_and_paint_finds_its_region(browser: Any, tmp_path: Any) -> None:
    from playwright.sync_api import expect

    path = tmp_path / "page.html"
    path.write_text(StuffThingsQuiz(image(), tissue_map(), regions=[1, 5]).page(), "utf-8")
    page = browser.new_page(viewport={"width": 900, "height": 800})
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    status, canvas = page.locator(".pano-status"), page.get_by_role("application").first
    canvas.focus()
    page.keyboard.press("t")
    expect(status).to_have_text(
        "✗ Not a thing, but stuff. “tumour” is an amorphous region: part of it is still “tumour”. "
        "Nobody asks how many there are, only where it is and how much, so it needs a class but no number."
    )
    page.keyboard.press("n")
    page.keyboard.press("t")
    expect(status).to_contain_text("✓ Right, a thing. “inflammatory nucleus” is a countable object")
    expect(status).to_contain_text("There is one here")
    expect(page.locator(".pano-points")).to_have_text("1 of 2 right: all answered")
    expect(page.locator(".pano-triptych")).to_be_visible()

    page.get_by_role("button", name="whole picture").click()
    page.get_by_label("brush").check()
    box = canvas.bounding_box()
    where = [(box["x"] + box["width"] * c / 32, box["y"] + box["height"] * r / 24) for r, c in ((7, 4.5), (7, 5))]
    page.mouse.move(*where[0])
    page.mouse.down()
    page.mouse.move(*where[1], steps=3)
    page.mouse.up()
    expect(page.locator(".pano-question")).to_have_text("The region you chose: stuff or thing?")
    expect(status).to_contain_text("Your paint: 100 % of it lies on the outlined region")
    page.close()
