"""Moondream's own class, by a stand-in of ours that the real door of transformers for remote code opens: nothing runs without consent."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.families.test_counting_in_words import COUNT

import fieldguide
from fieldguide.bench import Bench
from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.door import Door
from fieldguide.craft.chat.moondream import Moondream
from fieldguide.craft.chat.opening import check_chat, open_chat
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem
from fieldguide.families import vlm_lora, vlm_prompt
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message, Shown

#: As the real ones: no ``forward`` or ``post_init``, a table that no file holds; what answers is behind a property; the past is refused.
CODE = """
from pathlib import Path
import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

Path({witness!r}).write_text("the code has run")

class HfConfig(PretrainedConfig):
    model_type = "moondream1"

class HfMoondream(PreTrainedModel):
    config_class = HfConfig

    def __init__(self, config):
        super().__init__(config)
        self.bias = torch.nn.Parameter(torch.full((1,), 999.0))  # the file has 0
        self.register_buffer("middle", torch.full((1,), 127.0), persistent=False)  # no file has it

    @property
    def query(self):
        return self._query

    def _query(self, image=None, question=None, reasoning=True, settings=None):
        assert reasoning is False and settings["temperature"] == 0 and settings["max_tokens"] in (9, 48, 64)
        if question == "fail":
            raise ValueError("no such picture")
        if question == "old":
            raise NotImplementedError("This method is not supported in the latest version of moondream.")
        if question.endswith("echo"):
            return {{"answer": question}}
        light = float(np.asarray(image).mean()) + float(self.bias)
        return {{"answer": " light\\n" if light > float(self.middle) else "dark"}}
"""
ASKED = Asking((Message("system", ("Be brief.",)), Message("user", (Shown(), "echo"))), ("dark", "light"), most_tokens=9)
GREY: Pixels = np.full((20, 30, 3), 9, np.uint8)


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the copies that transformers makes of such code in the test's own folder."""
    import transformers.dynamic_module_utils as dynamic

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*sys.path])


def moon(tmp_path: Path, name: str = "moon", **auto_map: str) -> tuple[Path, Path]:
    """Write a folder with code of its own; return it, and the file that its code writes when it runs."""
    import torch
    from safetensors.torch import save_file

    folder, witness = tmp_path / name, tmp_path / f"{name}.witness"
    folder.mkdir()
    named = {"AutoConfig": "hf_moon.HfConfig", "AutoModelForCausalLM": "hf_moon.HfMoondream", **auto_map}
    (folder / "config.json").write_text(json.dumps({"model_type": "moondream1", "auto_map": named}))
    (folder / "hf_moon.py").write_text(CODE.format(witness=str(witness)))
    save_file({"bias": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    return folder, witness


def wanted(folder: Path, **more: Any) -> Wanted:
    return Wanted(f"moondream/{folder}", **{"remote_code": str(folder), **more})


def asked(question: str) -> Asking:
    return Asking((Message("user", (Shown(), question)),), ("dark", "light"), most_tokens=9)


def test_no_code_runs_without_consent_by_name(tmp_path: Path) -> None:
    folder, witness = moon(tmp_path)
    for consent in (None, "yes", "true", "moon", str(tmp_path)):
        for refused in (
            lambda: open_chat(wanted(folder, remote_code=consent)),  # noqa: B023 - called at once
            lambda: vlm_prompt.check(vlm_prompt.Settings(model=f"moondream/{folder}", remote_code=consent), online=True),  # noqa: B023
        ):
            with pytest.raises(UsageProblem) as told:
                refused()
            assert told.value.code == 2 and "hf_moon.HfMoondream" in told.value.allowed and "remote code" in told.value.allowed
            assert told.value.next.endswith(f"remote_code={folder}"[:300])
    with pytest.raises(UsageProblem):
        check_chat(f"moondream/{folder}", online=True)
    assert not witness.exists()


def test_a_repository_is_pinned_to_one_commit(tmp_path: Path) -> None:
    for revision in (None, "main", "2025-06-21"):
        with pytest.raises(UsageProblem, match="revision"):
            open_chat(Wanted("moondream/own/moon", remote_code="own/moon", revision=revision))
    with pytest.raises(UsageProblem, match="what was said of that is nothing"):
        open_chat(Wanted("moondream/own/moon", revision="a" * 40))
    with pytest.raises(EnvironmentProblem, match="is not on this machine"):
        open_chat(Wanted("moondream/own/moon", remote_code="own/moon", revision="a" * 40))
    with pytest.raises(UsageProblem, match="no moondream in the folder"):
        open_chat(wanted(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="revision"):
        vlm_prompt.Settings(model="moondream/own/moon", remote_code="own/moon", revision="main")
    with pytest.raises(ValueError, match="belong to moondream"):
        vlm_prompt.Settings(remote_code="drawn")
    with pytest.raises(ValueError, match="no forward"):
        vlm_lora.Settings(model="moondream/own/moon")


def test_a_pinned_commit_is_taken_from_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, witness = moon(tmp_path)
    told: dict[str, Any] = {}

    def snapshot(name: str, **more: Any) -> str:
        told.update(more, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    chat = open_chat(Wanted("moondream/own/moon", remote_code="own/moon", revision="b" * 40))
    assert (told["name"], told["revision"], told["local_files_only"]) == ("own/moon", "b" * 40, True)
    assert chat.facts["remote_code"]["commit"] == "b" * 40 and not witness.exists()
    assert [said.text for said in chat.ask(ASKED, [GREY], {})] == ["Be brief.\n\necho"] and witness.exists()


def test_code_from_elsewhere_and_pickles_are_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    folder, _ = moon(tmp_path, "far", AutoConfig="another/repository--hf_moon.HfConfig")
    with pytest.raises(DataProblem, match="takes its code from elsewhere"):
        open_chat(wanted(folder))
    folder, _ = moon(tmp_path, "bare")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataProblem, match="not whole"):
        open_chat(wanted(folder))
    folder, _ = moon(tmp_path, "other")
    save_file({"another": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(DataProblem, match="bias is missing"):
        open_chat(wanted(folder)).ask(ASKED, [GREY], {})
    folder, _ = moon(tmp_path, "torn")
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(DataProblem, match="cannot be loaded"):
        open_chat(wanted(folder))


def test_changed_code_is_refused_before_it_has_run(tmp_path: Path) -> None:
    folder, witness = moon(tmp_path)
    before = open_chat(wanted(folder)).revision
    assert before == open_chat(wanted(folder)).revision
    (folder / "hf_moon.py").write_text((folder / "hf_moon.py").read_text() + "\n# changed\n")
    with pytest.raises(DataProblem, match="are not those"):
        Door(wanted(folder), before)()
    assert not witness.exists()


def test_it_is_asked_one_question_and_what_it_cannot_take_is_told(tmp_path: Path) -> None:
    chat = open_chat(wanted(moon(tmp_path)[0], image_size=16))
    assert isinstance(chat, Moondream) and chat.size == 16 and chat.facts["parameters"] == 1
    light: Pixels = np.full((20, 30, 3), 250, np.uint8)
    said = list(chat.ask(asked("Which?"), [GREY, light, GREY], {}))
    assert [(one.text, one.finish, one.error) for one in said] == [
        ("dark", "stop", None),
        ("light", "stop", None),
        ("dark", "stop", None),
    ]
    assert [one.text for one in chat.ask(ASKED, [GREY], {})] == ["Be brief.\n\necho"]
    assert any("no system message" in note for note in chat.facts["notes"])
    assert [one.error for one in chat.ask(asked("fail"), [GREY], {})] == ["the model failed: no such picture"]
    with pytest.raises(UsageProblem, match="not supported in the latest version"):
        list(chat.ask(asked("old"), [GREY], {}))
    shown = Asking((Message("user", (Shown("k"),)), Message("assistant", ("dark",)), *asked("x").messages), ("dark", "light"))
    with pytest.raises(UsageProblem, match="shows 2 pictures"):
        chat.ask(shown, [GREY], {"k": GREY})


@pytest.mark.parametrize("how", ["choice", "likelihood", "decision"])
def test_there_are_words_and_no_probabilities(how: Any, tmp_path: Path) -> None:
    folder, witness = moon(tmp_path)
    with pytest.raises(UsageProblem, match=f"ask={how}"):
        vlm_prompt.check(vlm_prompt.Settings(model=f"moondream/{folder}", remote_code=str(folder), ask=how), online=False)
    assert not witness.exists()


def test_a_class_of_an_earlier_era_is_told(tmp_path: Path) -> None:
    folder, _ = moon(tmp_path)
    code = (folder / "hf_moon.py").read_text().replace("def query", "def answer_question")
    (folder / "hf_moon.py").write_text(code)
    with pytest.raises(UsageProblem, match="has no query"):
        open_chat(wanted(folder)).ask(asked("Which?"), [GREY], {})


def test_it_counts_through_the_room(tmp_path: Path) -> None:
    folder, _ = moon(tmp_path)
    settings = vlm_prompt.Settings(model=f"moondream/{folder}", remote_code=str(folder), prompt="currency")
    made = vlm_prompt.fit((), (), COUNT, settings, Bench(tmp_path))
    assert made.asking.how == "generate" and made.size == 1024
    with pytest.raises(UsageProblem, match="what it computes in"):
        vlm_prompt.check(settings.model_copy(update={"precision": "bf16"}), online=False)


def test_a_study_asks_it(tmp_path: Path) -> None:
    folder, witness = moon(tmp_path)
    for name, value in (("dark", 20), ("light", 230)):
        for number in range(6):
            path = tmp_path / "pictures" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([value, number]).integers(0, 20, (24, 24, 3))
            Image.fromarray((value + noise).astype(np.uint8)).save(path)
    with pytest.raises(UsageProblem, match="only through code of its own"):
        fieldguide.compare(tmp_path / "pictures", (f"vlm_prompt/moondream/{folder}",), out=tmp_path / "no", split="test-only")
    assert not witness.exists() and not (tmp_path / "no" / "runs").exists()
    entry = f"vlm_prompt:model=moondream/{folder},remote_code={folder},as=moon"
    study = fieldguide.compare(tmp_path / "pictures", (entry,), out=tmp_path / "s", split="test-only")
    assert study.outcomes == {"moon": "done"}, study.failure("moon")
    rows = read_predictions(study.folder / "runs" / "moon" / "predictions.parquet")
    assert len(rows) == 12 and {row.raw for row in rows} == {"dark", "light"}
    accuracy: Mapping[str, Any] = study.scores("moon")["parts"]["test"]["metrics"]["accuracy"]
    assert accuracy["value"] == 1.0
