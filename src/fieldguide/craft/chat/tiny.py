"""Tiny language models that look, with random weights, of the real classes of four architectures: folders to rehearse with, offline.

    idefics3    Laurençon et al., arXiv 2408.12637: SigLIP patches, pixel shuffle, Llama
    llava       Liu et al., 2304.08485, here with SigLIP (2303.15343): two layers between patches and Llama
    qwen3_vl    Qwen team, 2511.21631: positions in three dimensions, features fed to several layers
    mllama      Llama team, 2407.21783: the picture enters by cross-attention alone; its gates are opened here, or it would be ignored

as transformers (Apache-2.0) builds them. Each folder holds configuration, safetensors, processor, tokeniser and chat template, and is
loaded by `AutoModelForImageTextToText` and `AutoProcessor`. The tokeniser is trained here: byte-level pairs, every digit alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide.errors import UsageProblem, allowed_names
from fieldguide.files import building

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: What begins a text (mllama's), begins and ends a turn, and fills the shorter rows of a batch.
BEGIN, TURN, END, PAD = "<bos>", "<|im_start|>", "<|im_end|>", "<|pad|>"
#: The marks of all four architectures, so that one tokeniser serves them.
_MARKS = (
    *(PAD, TURN, END),
    *("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"),
    *("<|image|>", "<|python_tag|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)
#: Side of a picture and of a patch, in pixels.
SIDE, PATCH = 32, 8
_VOCABULARY = 512
_WORDS = """
You classify pictures. Which of these does the picture show? Answer with one name from the list and nothing else.
A circle, a square, a triangle, a star, a cross, a ring. red, green, blue, yellow, white, black. small, large, left, right, above, below.
cat, dog, bear, polar bear, horse, sheep, cow, bird, fish, frog, snake, lizard, butterfly, beetle, spider, rose, tulip, daisy, tree, leaf.
king, queen, rook, bishop, knight, pawn. zero, one, two, three, four, five, six, seven, eight, nine. The answer is the label.
{"label": "cat"} {"count": 1} Question: What is in this picture? Answer: There is nothing here that I know.
"""


def architectures() -> tuple[str, ...]:
    """Return the architectures that can be written."""
    return tuple(_KINDS)


def write_chat(target: Path, architecture: str = "idefics3", seed: int = 0, **sizes: int) -> Path:
    """Write a model of `architecture` into the folder `target`, whole or not at all; what is there is kept.

    `sizes` makes it larger: `width` (of text and picture), `layers` of the text, `heads`, `side` of pictures and `patch`, in pixels.
    """
    if architecture not in _KINDS:
        raise UsageProblem(
            f"There is no tiny model of the architecture {architecture!r}.",
            allowed_names(architecture, _KINDS),
            "write_chat(folder) writes the first of them.",
        )
    if target.exists():
        return target
    import torch
    from transformers.utils import logging as chatter

    bars = chatter.is_progress_bar_enabled()
    chatter.disable_progress_bar()
    wanted = {"width": 64, "layers": 2, "heads": 4, "side": SIDE, "patch": PATCH, **sizes}
    try:
        with torch.random.fork_rng(devices=[]), building(target) as folder:
            torch.manual_seed(seed)
            mark, build = _KINDS[architecture]
            model, processor = build(_tokeniser(_template(mark, BEGIN if architecture == "mllama" else "")), wanted)
            model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
            model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
    finally:
        if bars:
            chatter.enable_progress_bar()
    return target


def _tokeniser(template: str) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        _WORDS.splitlines(),
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY,
            special_tokens=[BEGIN, *_MARKS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[mark for mark in _MARKS if mark not in (END, PAD)],
        padding_side="left",
        model_max_length=4096,
    )
    wrapped.chat_template = template
    return wrapped


def _template(mark: str, bos: str = "") -> str:
    """Return a chat template in which a picture is written as `mark`; what the assistant says ends with its turn."""
    parts = (
        "{%- if m['content'] is string -%}{{ m['content'] }}{%- else -%}{%- for part in m['content'] -%}"
        f"{{%- if part['type'] == 'image' -%}}{{{{ '{mark}' }}}}{{%- else -%}}{{{{ part['text'] }}}}{{%- endif -%}}"
        "{%- endfor -%}{%- endif -%}"
    )
    return (
        f"{{{{- '{bos}' -}}}}{{%- for m in messages -%}}{{{{ '{TURN}' + m['role'] + '\\n' }}}}{{%- if m['role'] == 'assistant' -%}}"
        f"{{%- generation -%}}{parts}{{{{ '{END}' }}}}{{%- endgeneration -%}}{{%- else -%}}{parts}{{{{ '{END}' }}}}{{%- endif -%}}"
        f"{{{{ '\\n' }}}}{{%- endfor -%}}{{%- if add_generation_prompt -%}}{{{{ '{TURN}assistant\\n' }}}}{{%- endif -%}}"
    )


def _text(tokenizer: Any, sizes: dict[str, int], **more: Any) -> dict[str, Any]:
    """Return what all text halves are told."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": sizes["width"],
        "intermediate_size": 2 * sizes["width"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["heads"],
        "num_key_value_heads": max(1, sizes["heads"] // 2),
        "max_position_embeddings": 4096,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        # Larger than is usual: words and pictures then move the answers of random weights visibly.
        "initializer_range": 0.08,
        **more,
    }


def _picture(sizes: dict[str, int], **more: Any) -> dict[str, Any]:
    """Return what all picture halves are told."""
    return {
        "hidden_size": sizes["width"],
        "intermediate_size": 2 * sizes["width"],
        "num_hidden_layers": 2,
        "num_attention_heads": sizes["heads"],
        "image_size": sizes["side"],
        "patch_size": sizes["patch"],
        "initializer_range": 0.08,
        **more,
    }


def _idefics3(tokenizer: Any, sizes: dict[str, int]) -> tuple[Any, Any]:
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
        LlamaConfig,
    )

    config = Idefics3Config(
        text_config=LlamaConfig(**_text(tokenizer, sizes)),
        vision_config=_picture(sizes),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
    )
    edge = {"longest_edge": sizes["side"]}
    looks = Idefics3ImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False)
    tokens = (sizes["side"] // sizes["patch"] // 2) ** 2
    processor = Idefics3Processor(looks, tokenizer, image_seq_len=tokens, chat_template=tokenizer.chat_template)
    return Idefics3ForConditionalGeneration(config), processor


def _llava(tokenizer: Any, sizes: dict[str, int]) -> tuple[Any, Any]:
    from transformers import (
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        SiglipImageProcessor,
        SiglipVisionConfig,
    )

    config = LlavaConfig(
        text_config=LlamaConfig(**_text(tokenizer, sizes)),
        vision_config=SiglipVisionConfig(**_picture(sizes, vision_use_head=False)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(sizes["side"] // sizes["patch"]) ** 2,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    processor = LlavaProcessor(
        SiglipImageProcessor(size={"height": sizes["side"], "width": sizes["side"]}),
        tokenizer,
        patch_size=sizes["patch"],
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=tokenizer.chat_template,
    )
    return LlavaForConditionalGeneration(config), processor


def _qwen3_vl(tokenizer: Any, sizes: dict[str, int]) -> tuple[Any, Any]:
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    width, side, patch, head = sizes["width"], sizes["side"], sizes["patch"], sizes["width"] // sizes["heads"]
    third = head // 2 // 3
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config=_text(
            tokenizer,
            sizes,
            head_dim=head,
            rope_parameters={**rope, "mrope_section": [head // 2 - 2 * third, third, third]},
        ),
        vision_config={
            "depth": 2,
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_heads": sizes["heads"],
            "patch_size": patch,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": width,
            "num_position_embeddings": (side // patch) ** 2,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.08,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    told: dict[str, Any] = {"patch_size": patch, "temporal_patch_size": 2, "merge_size": 2}
    # Both bounds: a picture is resized to as many pixels, in its own proportions.
    pixels = {"shortest_edge": side**2, "longest_edge": side**2}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(size=pixels, **told),
        tokenizer,
        Qwen3VLVideoProcessor(size=pixels, **told),
        chat_template=tokenizer.chat_template,
    )
    return Qwen3VLForConditionalGeneration(config), processor


def _mllama(tokenizer: Any, sizes: dict[str, int]) -> tuple[Any, Any]:
    import torch
    from transformers import MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessor, MllamaProcessor

    side = sizes["side"]
    config = MllamaConfig(
        text_config=_text(
            tokenizer,
            sizes,
            cross_attention_layers=[1],
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        vision_config=_picture(
            sizes,
            attention_heads=sizes["heads"],
            num_global_layers=1,
            vision_output_dim=2 * sizes["width"],
            max_num_tiles=1,
            supported_aspect_ratios=[[1, 1]],
            intermediate_layers_indices=[0],
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    model = MllamaForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gate"):
                parameter.fill_(1.0)
    looks = MllamaImageProcessor(size={"height": side, "width": side}, max_image_tiles=1)
    return model, MllamaProcessor(looks, tokenizer, chat_template=tokenizer.chat_template)


_Build = Callable[[Any, dict[str, int]], tuple[Any, Any]]
#: How each is told of a picture, and how it is built.
_KINDS: dict[str, tuple[str, _Build]] = {
    "idefics3": ("<image>", _idefics3),
    "llava": ("<image>", _llava),
    "qwen3_vl": ("<|vision_start|><|image_pad|><|vision_end|>", _qwen3_vl),
    "mllama": ("<|image|>", _mllama),
}
