"""The files of the recipes: what they say holds together, and every setting is stated by its source or marked as ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fieldguide import families, plan, recipe, recipe_asking, recipes
from fieldguide.asked import Asked, Entry, PromptAudit
from fieldguide.errors import EnvironmentProblem, UsageProblem
from fieldguide.records import ClassInfo
from fieldguide.tasks.prompting import read_prompt
from fieldguide.tasks.varying import CHECKS, not_applicable

#: Every recipe; of those with cases, every case.
NAMES = tuple(f"{name}/{case}" if case else name for name in recipes.names() for case in recipes.read(name).cases or (None,))


def contestants(name: str) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in recipes.read(name).study["contestants"]}


def test_both_are_there_and_more_may_come() -> None:
    assert {"animals90", "pets_vit", "llava_zero_shot/mnist", "llava_zero_shot/chess"} <= set(NAMES)


def test_a_recipe_is_added_by_adding_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(recipes.__file__).parent / "pets_vit.toml").read_text(encoding="utf-8")
    (tmp_path / "my_own.toml").write_text(text.replace('title = "Pets', 'title = "My pets'), encoding="utf-8")
    (tmp_path / "broken.toml").write_text(text.replace("classes = 37", "clases = 37"), encoding="utf-8")
    monkeypatch.setattr(recipes.resources, "files", lambda package: tmp_path)
    assert recipes.names() == ("broken", "my_own")
    assert recipes.read("my_own").title.startswith("My pets")
    with pytest.raises(UsageProblem, match=r"The recipe broken needs the setting 'data\.classes'"):
        recipes.read("broken")


def test_an_unknown_one_names_the_nearest() -> None:
    with pytest.raises(UsageProblem) as caught:
        recipes.read("animal90")
    assert "Did you mean animals90?" in caught.value.allowed


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_stated_or_ours_and_never_both(name: str) -> None:
    said = recipes.read(name)
    used = set(said.shared) | set(said.prompted) | {key for key in said.study if key != "contestants"}
    used |= {key for entry in said.study["contestants"] for key in entry.get("settings", {})}
    assert used <= set(said.stated) | set(said.ours)
    assert not set(said.stated) & set(said.ours)
    assert set(said.stated) <= used, "what the source states is set, not left to a default"
    assert all(reason.startswith("Not stated") for reason in said.ours.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_ours_names_is_a_setting(name: str) -> None:
    said = recipes.read(name)
    used = {families.family(entry["family"]).Settings for entry in said.study["contestants"]}
    known = set(Asked.model_fields).union(*(kind.model_fields for kind in used))
    assert set(said.ours) | set(said.stated) <= known


@pytest.mark.parametrize("name", NAMES)
def test_figures_groups_and_questions_are_of_its_contestants(name: str) -> None:
    said, known = recipes.read(name), set(contestants(name))
    assert {figure.contestant for figure in said.published.figures} <= known
    groups = {group.name: set(group.contestants) for group in said.published.groups}
    assert all(members <= known for members in groups.values())
    assert all(set(pair) <= set(groups) for pair in said.published.against)
    assert all(set(question.contestants) <= known for question in said.questions)
    assert set(said.rehearsal.settings) <= known and set(said.optional) <= known
    assert all(len(question.contestants) == 2 for question in said.questions if question.pair)
    assert {*said.steps, *said.rehearsal.steps} <= set(recipe.STEPS)


def test_counts_agree_with_what_is_printed() -> None:
    """Printed figures are rounded or cut: 771 of 810 is 95.185 and stands as 95.18."""
    *figures, asked, taught = recipes.read("animals90").published.figures
    assert len(figures) == 14 and (asked.contestant, asked.accuracy, asked.filtered) == ("llama-vision-prompt", 35, 93.69)
    assert (taught.contestant, taught.accuracy, taught.filtered) == ("llama-vision-lora", 92, 95.16)
    for figure in figures:
        assert figure.pictures == 810
        assert 0 <= abs(100 * figure.share - figure.accuracy) < 0.01
    assert {figure.contestant: figure.correct for figure in figures}["efficientnet-b4"] == 779
    accuracy = {figure.contestant: figure.accuracy for figure in figures}
    for group in recipes.read("animals90").published.groups:
        mean = sum(accuracy[name] for name in group.contestants) / len(group.contestants)
        assert group.accuracy == pytest.approx(mean, abs=0.006)


def test_the_fourteen_and_the_three_are_as_published() -> None:
    models = {name: entry["settings"]["model"] for name, entry in contestants("animals90").items()}
    assert models.pop("llama-vision-prompt") == models.pop("llama-vision-lora") == "hf/meta-llama/Llama-3.2-11B-Vision-Instruct"
    networks = "vgg16 vgg19 resnext50_32x4d resnext101_32x8d efficientnet_b4 mobilenet_v3_large densenet169 densenet121"
    wanted = [f"torchvision/{model}" for model in f"{networks} swin_v2_t swin_v2_s swin_v2_b".split()]
    assert list(models.values()) == [*wanted, "tiny", "small", "base"]
    assert {entry["family"] for entry in contestants("animals90").values()} == {"backbone", "vmamba", "vlm_prompt", "vlm_lora"}
    assert [entry["settings"]["train"] for entry in contestants("pets_vit").values()] == ["blocks:10-11", "all", "head"]


def test_the_tuned_language_model_is_taught_as_published() -> None:
    told = contestants("animals90")["llama-vision-lora"]["settings"]
    taught: Any = plan.read_contestants([Entry(name="x", family="vlm_lora", settings=told)])[0].settings
    assert (taught.method, taught.rank, taught.alpha, taught.dropout) == ("qlora", 16, 16, 0)
    assert set(taught.parts) == {"vision", "language", "attention", "mlp"} and taught.checkpointing
    assert (taught.batch_size, taught.accumulate, taught.learning_rate, taught.most_steps) == (2, 4, 2e-4, 30)
    assert (taught.optimiser, taught.prompt, taught.head, taught.ask) == ("adamw8bit", "animals90", "words", "generate")
    before = contestants("animals90")["llama-vision-prompt"]["settings"]
    assert {**{key: told[key] for key in before if key != "bits"}, "bits": 4} == before, (
        "the same model is asked the same before"
    )


@pytest.mark.parametrize("given", [{"model": "served/eyes", "server": "http://localhost:1"}, {"model": "drawn"}])
def test_who_is_taught_is_left_out_where_the_model_is_behind_a_server(given: dict[str, str], tmp_path: Path) -> None:
    asked = recipe.asked_of(order("animals90", tmp_path / "out", False, asking=given))
    found = {one.name: one.settings for one in plan.read_contestants(asked.contestants)}
    assert "llama-vision-prompt" in found and ("llama-vision-lora" in found) == (given["model"] == "drawn")


def order(name: str, out: Path, tiny: bool, **more: Any) -> recipe.Order:
    base, _, case = name.partition("/")
    return recipe.Order(base, None if tiny else "somewhere", out, tiny=tiny, case=case or None, **more)


def is_asked(name: str, one: Any) -> bool:
    return recipe_asking.asks(contestants(name)[one.name])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "currency_counting"])  # tests/test_recipe_counting.py
@pytest.mark.parametrize("tiny", [False, True])
def test_families_take_every_setting(name: str, tiny: bool, tmp_path: Path) -> None:
    said, asked = recipes.read(name), recipe.asked_of(order(name, tmp_path / "out", tiny))
    found = plan.read_contestants(asked.contestants)
    texts = {material.name for material in said.materials if material.kind == "texts"}
    reading = {one for one, entry in contestants(name).items() if entry.get("settings", {}).get("texts") in texts}
    assert [one.name for one in found] == [
        one for one in contestants(name) if tiny or (one not in reading and one not in said.optional)
    ]
    assert asked.recipe == (f"{name}/tiny" if tiny else name)
    untaught = name.startswith("llava") and not name.endswith("-taught")
    assert (asked.split, asked.seed) == ("test-only" if untaught else "70/15/15", 42)
    prompted: Any = [one.settings for one in found if is_asked(name, one)]
    if tiny:
        assert {one.model for one in prompted} <= {"drawn"}
    elif prompted:
        model = "ollama/llava" if untaught else "hf/llava-hf/llava-1.5-7b-hf"
        assert {(one.model, one.reading) for one in prompted} == {(model, "strict")}
    given: Any = [one.settings for one in found if not is_asked(name, one)]
    if name == "cub_text":
        assert {one.model for one in given} == {"drawn" if tiny else "hf/openai/clip-vit-large-patch14"}
        assert bool(reading) and (tiny or not asked.texts)
    elif not given:
        assert name.startswith("llava_zero_shot/")
    elif tiny:
        assert {one.image_size for one in given} == {32}
        assert all(one.weights == "none" or str(tmp_path) in one.model for one in given), "a rehearsal needs no hub"
    else:
        assert {(one.image_size, one.fit, one.crop, one.weights) for one in given} == {(224, "squash", 1.0, "hub")}
    if name == "pets_vit":
        assert {one.memory for one in given} == {"17 GB"}
        assert tiny or {(one.learning_rate, one.batch_size, one.epochs) for one in given} == {(2e-5, 16, 5)}
        trainers = {(one.schedule, one.warmup, one.weight_decay, one.clip, one.head_factor) for one in given}
        assert trainers == {("linear", 0.0, 0.0, 1.0, 1.0)}, "the defaults of transformers.Trainer"
        assert next(one.train for one in given) == ("blocks:2-3" if tiny else "blocks:10-11")
        assert {one.augment for one in given} == {"turns"}
    if name == "animals90":
        assert {one.augment for one in given} == {"mixes"}
        assert tiny or {(one.learning_rate, one.batch_size, one.train) for one in given} == {(None, 32, "all")}


@pytest.mark.parametrize("name", NAMES)
def test_libraries_know_every_network(name: str, tmp_path: Path) -> None:
    from fieldguide.craft import zoo

    for tiny in (False, True):
        asked = recipe.asked_of(order(name, tmp_path / "out", tiny))
        for one in plan.read_contestants(asked.contestants):
            if one.family == "backbone":
                assert zoo.knows(one.settings.model), one.settings.model  # type: ignore[attr-defined]


def test_cases_have_their_own_pictures_prompt_and_figures() -> None:
    assert recipes.read("llava_zero_shot").cases == ("mnist", "animals", "chess", "chess-taught")
    assert recipes.read("llava_zero_shot").case == "mnist", "the first is meant where none is named"
    assert recipes.read("pets_vit").cases == () and recipes.read("pets_vit").case is None
    of = {case: recipes.read(f"llava_zero_shot/{case}") for case in ("mnist", "animals", "chess")}
    assert {case: (said.data.classes, said.data.pictures) for case, said in of.items()} == {
        "mnist": (10, 500),
        "animals": (10, 500),
        "chess": (6, 465),
    }
    figures = {case: said.published.figures[0] for case, said in of.items()}
    assert {case: (figure.accuracy, figure.correct) for case, figure in figures.items()} == {
        "mnist": (79.2, 396),
        "animals": (77.4, 387),
        "chess": (16.56, 77),
    }
    assert all(abs(100 * figure.share - figure.accuracy) < 0.01 for figure in figures.values())
    for case in of:
        entries = contestants(f"llava_zero_shot/{case}")
        assert entries["llava"]["settings"] == {"prompt": f"llava_{case}", "ask": "generate"}
        assert entries["llava-choice"]["settings"] == {"prompt": f"llava_{case}", "ask": "choice"}
    assert read_prompt("llava_chess").temperature == 0.5 and read_prompt("llava_mnist").temperature == 0


@pytest.mark.parametrize("case", ["mnist", "animals"])
def test_the_prompt_without_its_example_is_the_same_but_for_its_last_sentence(case: str) -> None:
    whole, bare = read_prompt(f"llava_{case}"), read_prompt(f"llava_{case}_no_example")
    told = {"name", "about", "source", "system", "example"}
    assert whole.model_dump(exclude=told) == bare.model_dump(exclude=told)
    lost = re.fullmatch(re.escape(bare.system[:-1]) + " (For example if you identify .*)\n", whole.system)
    assert lost and lost[1].count("{example}") == 2 and bare.example is None and "{example}" not in bare.system


@pytest.mark.parametrize("case", ["mnist", "animals", "chess"])
def test_the_audit_is_of_one_of_its_contestants_and_of_what_its_prompt_has(case: str) -> None:
    recipe = recipes.read(f"llava_zero_shot/{case}")
    for more in ({}, recipe.rehearsal.audit):
        values = {**recipe.audit, **more}
        name = values.pop("contestant")
        assert {"example", "order"} <= set(PromptAudit(**values).check) <= set(CHECKS)
    prompt = read_prompt(contestants(f"llava_zero_shot/{case}")[name]["settings"]["prompt"])
    classes = [ClassInfo(f"class {at}", f"class {at}") for at in range(recipe.data.classes)]
    assert set(not_applicable(prompt, classes, ("example", "order"))) == ({"example"} if case == "chess" else set())


@pytest.mark.parametrize("name", ["llava_zero_shot/chessboard", "pets_vit/cats"])
def test_an_unknown_case_names_the_nearest(name: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        recipes.read(name)
    assert "Did you mean chess?" in caught.value.allowed or caught.value.allowed == "It has no cases."


def test_an_optional_contestant_takes_part_where_its_model_is_here_or_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(**more: Any) -> set[str]:
        return {one.name for one in recipe.asked_of(order("animals90", tmp_path / "out", False, **more)).contestants}  # type: ignore[union-attr]

    lost = EnvironmentProblem("no weights", "", "")
    monkeypatch.setattr(plan, "obstacle", lambda contestant, online: lost)
    assert len(names()) == 14 and "llama-vision-prompt" not in names(online=True), "nobody downloads 22 GB unasked"
    served = names(asking={"model": "served/other", "server": "http://localhost:8000/v1"})
    assert "llama-vision-prompt" in served and "llama-vision-lora" not in served, "what a server has cannot be tuned"
    assert {"llama-vision-prompt", "llama-vision-lora"} <= names(asking={"model": "hf/owner/other"})
    monkeypatch.setattr(plan, "obstacle", lambda contestant, online: None)
    assert "llama-vision-prompt" in names()


def test_the_asked_model_is_the_users(tmp_path: Path) -> None:
    asking = {"model": "served/llava-7b", "server": "http://localhost:8000/v1", "key_variable": "MY_KEY"}
    mine = order("llava_zero_shot/chess", tmp_path / "out", False, asking=asking)
    for one in plan.read_contestants(recipe.asked_of(mine).contestants):
        assert {name: getattr(one.settings, name) for name in asking} == asking
    for model in ("served/x", "ollama/x", "hf/other/x"):
        other = recipe.asked_of(
            order(
                "animals90",
                tmp_path / "out",
                False,
                asking={"model": model, **({} if model.startswith("hf") else {"server": "http://localhost"})},
            )
        )
        (prompted,) = (one.settings for one in plan.read_contestants(other.contestants) if one.family == "vlm_prompt")
        assert (prompted.bits, prompted.model) == (4 if model.startswith("hf/") else None, model)
    told = mine.command()
    assert told.startswith("fieldguide recipe llava_zero_shot --case chess --data somewhere --model served/llava-7b --server ")
    assert recipe_asking.read_asking("animals90", {**asking, "case": None, "material": ()}) == asking
    with pytest.raises(UsageProblem, match="the recipe pets_vit has none") as caught:
        recipe_asking.read_asking("pets_vit", {"server": "http://localhost"})
    assert "animals90" in caught.value.allowed and "llava_zero_shot" in caught.value.allowed
