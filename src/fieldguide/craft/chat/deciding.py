"""Which letter a model would answer with where a letter stands for each name: transformers' own decision pipeline, as a floor to compare with.

The prompt is put as its `state`, every name is an option, and what it reads is the next token's logits of the options' letters, in one full
pass for each picture: nothing is computed once, pictures go through one by one, and the names are read once more behind the prompt.
Its sums are log-probabilities among the options, and say nothing of all else that could be answered. A ``decision.json`` beside the
model gives other labels, temperatures or a template of its own; code or an adapter that it names is not loaded.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fieldguide.craft.chat import NOT_FINITE, Said
from fieldguide.craft.zoo import of_transformers
from fieldguide.errors import DataProblem, UsageProblem, plain
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.weighed import Weighed, dumps

if TYPE_CHECKING:
    from PIL import Image as Pillow

    from fieldguide.craft.chat.local import Local
    from fieldguide.craft.chat.prefix import Inputs
    from fieldguide.craft.chat.ready import Prepared, Ready

#: The one question of a request.
_QUESTION = "name"


class Decider:
    """Asks the decision pipeline for the names of one prompt; a `fieldguide.craft.chat.ready.Weigher`.

    Raises `UsageProblem` where there are more names than it has letters, or a letter is not one token of this model.
    """

    behind, alone = 1, True

    def __init__(self, chat: Local, prompt: Prepared) -> None:
        from transformers.decision import DecisionConfig
        from transformers.pipelines.decision import DecisionPipeline

        self.chat, self.prompt = chat, prompt
        names = prompt.asking.answers
        config = _config(DecisionConfig, chat.model.name_or_path)
        labels = config.labels.get("choice") or [chr(ord("A") + at) for at in range(26)]
        if len(names) > len(labels):
            raise UsageProblem(
                f"The decision pipeline of transformers tells {len(labels):,} options apart, and there are {len(names):,} names.",
                f"Allowed with ask=decision: {len(labels):,} names at most; more only where a decision.json beside the model lists a label "
                "of one token for each (labels, choice).",
                "The same with ask=likelihood, which takes any number of names.",
            )
        # It adds marks of its own to the tokeniser.
        processor = copy.deepcopy(chat.hand.processor)
        with of_transformers._quiet():
            self._pipe: Any = DecisionPipeline(
                model=chat.model,
                tokenizer=processor.tokenizer,
                processor=processor,
                decision_config=config,
                device=None if getattr(chat.model, "hf_device_map", None) else chat.model.device,
            )
        try:
            self._pipe.label_token_ids(tuple(labels[: len(names)]))
        except ValueError as error:
            raise UsageProblem(
                f"The decision pipeline cannot ask this model: {plain(error)}",
                "Allowed: a model whose tokeniser has a token of its own for each letter.",
                "The same with ask=likelihood, which needs no letters.",
            ) from error
        self._options = dict.fromkeys(names)
        self._asked: list[Any] = []
        told = {"labels": len(names), "first": labels[0], "last": labels[len(names) - 1], "most": len(labels)}
        chat.facts = {**chat.facts, "decision": told}

    def inputs(self, picture: Pillow.Image) -> Inputs:
        """Return what the pipeline makes of the prompt with a picture, floats as narrow as the model's."""
        model = self.chat.model
        made = self._pipe.preprocess(self._request(picture))["prompts"]
        ((given, self._asked),) = made
        return {
            name: value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
            for name, value in given.items()
            if isinstance(value, Tensor)
        }

    def _request(self, picture: Pillow.Image) -> dict[str, Any]:
        shown = self.prompt.shown
        state, assets = stated(self.prompt.asking, {key: shown[key] for key in self.prompt.asking.examples}, picture)
        return {"state": state, "assets": assets, "questions": {_QUESTION: {"type": "choice", "criteria": self._options}}}

    def weighed(self, group: Sequence[Ready]) -> list[Said]:
        """Return the log-probabilities of the names among themselves."""
        said = []
        for one in group:
            with torch.inference_mode(), of_transformers._quiet():
                out = self._pipe._forward({"prompts": [(one.inputs, self._asked)]})
            sums = out["scores"][0][0].double().log_softmax(-1).cpu()
            if bool(sums.isfinite().all()):
                said.append(Said(dumps(Weighed(tuple(sums.tolist()))), "stop", one.tokens, 0, level="decision"))
            else:
                said.append(Said(error=NOT_FINITE, tokens_in=one.tokens))
        return said

    def lessen(self) -> bool:
        """It cannot do with less."""
        return False


def _config(kind: Any, folder: str) -> Any:
    """Return how a model decides, from its folder or else as usual; marks of the model were refused in a prompt before."""
    try:
        config = kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a file that is damaged fails in ways of its own
        raise DataProblem(
            f"decision.json beside the model cannot be read: {plain(error)}.",
            "Allowed: a file as DecisionConfig.save_pretrained writes it, or none.",
            "Fetch the model again, or ask with ask=likelihood.",
        ) from error
    if config.adapter:
        raise DataProblem(
            f"decision.json beside the model names an adapter ({plain(config.adapter)}), which would change all its answers.",
            "Allowed: a decision.json without one, or none.",
            "Take a model whose adapter is merged into its weights, or ask with ask=likelihood.",
        )
    config.sanitize_control_tokens = False
    return config


def stated(asking: Asking, shown: Mapping[str, Pillow.Image], picture: Pillow.Image) -> tuple[str, dict[str, Pillow.Image]]:
    """Return the turns of `asking` as one text with a word for each picture, and the pictures by that word."""
    said = [part for turn in asking.messages for part in turn.parts if isinstance(part, str)]
    word = "picture"
    while any(f"<{word}-" in text for text in (*said, *asking.answers)):
        word += "_"
    assets: dict[str, Pillow.Image] = {}
    turns = []
    for turn in asking.messages:
        parts = []
        for part in turn.parts:
            if isinstance(part, str):
                parts.append(part)
            else:
                parts.append(f"<{word}-{len(assets)}>")
                assets[parts[-1]] = picture if part.key is None else shown[part.key]
        turns.append(("Answer: " if turn.role == "assistant" else "") + "\n".join(parts))
    return "\n\n".join(turns), assets
