"""The words' stage: a text encoder that keeps subject, colour, background, hand and tones apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training.starter.captions import words
from training.starter.drawings import Drawn, read_drawn
from training.starter.hands import HANDS
from training.starter.model import make_text_encoder, make_tokenizer, tokenise
from training.starter.scenes import BACKGROUNDS, COLOURS, SUBJECTS
from training.starter.stage import BuildPlan, Stage, set_rate, warm_then_cosine
from training.starter.toned_hands import TONES

# What a caption is asked for, each with its answers; None where it may not tell.
_QUESTIONS: tuple[tuple[str | None, ...], ...] = (
    tuple(SUBJECTS),
    tuple(COLOURS),
    tuple(BACKGROUNDS),
    (*HANDS, None),
    (*SUBJECTS, None),  # of the second subject
    (*COLOURS, None),
    *((*dict.fromkeys(part), None) for part in zip(*TONES.values(), strict=True)),  # dark, light, way
)


class WordReader(nn.Module):
    """Linear heads that must tell from the encoded caption what the drawing shows."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, len(answers)) for answers in _QUESTIONS)

    def forward(self, pooled: Tensor) -> list[Tensor]:
        return [head(pooled) for head in self.heads]


def _labels(drawn: Drawn) -> list[int]:
    first, second = drawn.subjects[0], drawn.subjects[1] if len(drawn.subjects) > 1 else (None, None)
    hand = drawn.hand if drawn.hand in HANDS else None
    labels = (*first, drawn.background, hand, *second, *TONES.get(drawn.hand, (None, None, None)))
    return [answers.index(answer) for answers, answer in zip(_QUESTIONS, labels, strict=True)]


def train_words(state: Path, plan: BuildPlan, device: torch.device) -> tuple[Any, Any]:
    """Train the text encoder to keep subject, colour, background, hand and tones apart; afterwards it stays frozen."""
    tokenizer = _tokenizer(state / "tokenizer")
    encoder = make_text_encoder(tokenizer).to(device)
    reader = WordReader(encoder.config.hidden_size).to(device)
    both = nn.ModuleList([encoder, reader])
    optimizer = torch.optim.AdamW(both.parameters(), lr=1e-3, weight_decay=0.01)
    stage = Stage(state / "text.pt", both, optimizer, None)
    records = read_drawn(state)
    tokens = tokenise(tokenizer, [record.caption for record in records])
    # Attention is causal: what stands before the padding does not depend on it, so it need not be computed.
    lengths = (tokens != tokenizer.eos_token_id).sum(1) + 1
    labels = torch.tensor([_labels(record) for record in records])
    for step in stage.steps("words", plan.text_steps):
        rng = np.random.default_rng([plan.seed, step, 2])
        rows = torch.from_numpy(rng.integers(0, len(records), plan.text_batch))
        torch.manual_seed(plan.seed * 1_000_003 + step)
        states = encoder(input_ids=tokens[rows, : lengths[rows].max()].to(device))
        # A little noise on what is read keeps different things well apart.
        pooled = states.pooler_output + 0.3 * torch.randn_like(states.pooler_output)
        answers = reader(pooled)
        truth = labels[rows].to(device)
        loss = torch.stack([F.cross_entropy(a, truth[:, i]) for i, a in enumerate(answers)]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        set_rate(optimizer, 1e-3 * warm_then_cosine(step, plan.text_steps))
        optimizer.step()
        if step % 50 == 0:
            right = [(a.argmax(-1) == truth[:, i]).float().mean().item() for i, a in enumerate(answers)]
            print(f"words: loss {loss.item():.3f}, right {[round(r, 2) for r in right]}", flush=True)
    return encoder.eval().requires_grad_(False), tokenizer


def _tokenizer(folder: Path) -> Any:
    """The tokenizer in `folder`, made when there is none: byte-pair training settles ties by chance, so it is done once."""
    if not (folder / "tokenizer.json").exists():
        make_tokenizer(words(), folder)
    return CLIPTokenizer.from_pretrained(folder)


@torch.no_grad()
def encode_captions(encoder: Any, tokenizer: Any, captions: list[str], device: torch.device) -> Tensor:
    """Text states (N, 40, 256) in half precision."""
    parts = []
    for first in range(0, len(captions), 250):
        tokens = tokenise(tokenizer, captions[first : first + 250]).to(device)
        parts.append(encoder(input_ids=tokens).last_hidden_state.half().cpu())
    return torch.cat(parts)


def encode_drawn(state: Path, encoder: Any, tokenizer: Any, device: torch.device) -> None:
    """Write `captions.pt`: the text states of every drawing's caption, and of no words at all, in half precision."""
    if (state / "captions.pt").exists():
        return
    captions = [record.caption for record in read_drawn(state)]
    states = {
        "captions": encode_captions(encoder, tokenizer, captions, device),
        "nothing": encode_captions(encoder, tokenizer, [""], device),
    }
    torch.save(states, state / "captions.pt")
