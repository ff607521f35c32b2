from dataclasses import replace
from typing import Any

import pytest
import torch

from styles.bases.conditioning import Conditioning
from training.draws import derived_seed, draw
from training.encode import Bucket, Prepared
from training.loss import Objective, learning_rate_at, objective_of
from training.plan import TrainingPlan

SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
PLAN = TrainingPlan(name="x", batch=4, seed=7, caption_dropout=0.25)
CPU = torch.device("cpu")


def objective(prediction: str, zero: bool = False, **numbers: Any) -> Objective:
    return objective_of(SCHEDULE, prediction, zero, replace(PLAN, **numbers), CPU)


def prepared(counts: tuple[int, ...] = (5, 3)) -> Prepared:
    generator = torch.Generator().manual_seed(0)
    buckets = tuple(
        Bucket(
            torch.randn((count, 4, 4, 4 + 2 * number), generator=generator),
            torch.full((count, 4, 4, 4 + 2 * number), 0.1),
            torch.arange(count) + 1,
            torch.arange(6.0).expand(count, 6),
        )
        for number, count in enumerate(counts)
    )
    texts = torch.arange(6.0).view(6, 1, 1).expand(6, 2, 3).contiguous()
    nothing = Conditioning(torch.zeros(1, 2, 3))
    return Prepared(buckets, Conditioning(texts), 0, nothing, nothing)


def test_noise_prediction_weights_are_min_snr() -> None:
    weighted = objective("epsilon")
    snr = (weighted.signal / weighted.noise).double() ** 2
    assert torch.allclose(weighted.weights.double(), snr.clamp(max=5) / snr, rtol=1e-3)
    assert weighted.weights[-1] == 1 and weighted.weights[0] < 0.01
    assert (objective("epsilon", min_snr_gamma=None).weights == 1).all()
    assert weighted.noise_offset == PLAN.noise_offset


def test_v_prediction_weights_are_min_snr_in_terms_of_v() -> None:
    weighted = objective("v_prediction")
    snr = (weighted.signal / weighted.noise).double() ** 2
    assert torch.allclose(weighted.weights.double(), snr.clamp(max=5) / (snr + 1), rtol=1e-3)
    assert weighted.noise_offset == 0


def test_zero_terminal_snr_has_the_plain_loss_and_pure_noise_at_the_end() -> None:
    plain = objective("v_prediction", zero=True)
    assert (plain.weights == 1).all()
    assert plain.signal[-1] == 0 and plain.noise[-1] == 1


def test_targets_lead_back_to_the_latents() -> None:
    drawn = draw(prepared(), PLAN, 3, 0, 1000)
    for kind in ("epsilon", "v_prediction"):
        aim = objective(kind)
        noisy, target = aim.noisy(drawn)
        signal = aim.signal[drawn.timesteps].view(-1, 1, 1, 1)
        sigma = aim.noise[drawn.timesteps].view(-1, 1, 1, 1)
        if kind == "epsilon":
            assert torch.allclose(
                target - drawn.noise, (PLAN.noise_offset * drawn.offset).expand_as(target), atol=1e-6
            )
            assert torch.allclose(noisy - sigma * target, signal * drawn.latents, atol=1e-5)
        else:  # arXiv 2202.00512: x = signal * noisy - sigma * v
            assert torch.allclose(signal * noisy - sigma * target, drawn.latents, atol=1e-5)


def test_a_draw_depends_on_seed_and_step_only() -> None:
    torch.manual_seed(1)
    first = draw(prepared(), PLAN, 11, 0, 1000)
    torch.manual_seed(2)
    again = draw(prepared(), PLAN, 11, 0, 1000)
    for name in ("latents", "noise", "offset", "timesteps"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert torch.equal(first.conditioning.states, again.conditioning.states)
    other = draw(prepared(), PLAN, 12, 0, 1000)
    assert other.noise.shape != first.noise.shape or not torch.equal(first.noise, other.noise)
    assert derived_seed(1, "a") != derived_seed(1, "b") != derived_seed(2, "b")


def test_a_step_holds_the_same_pictures_however_it_is_split() -> None:
    whole = draw(prepared(), PLAN, 11, 0, 1000)
    for batch in (1, 2):
        split = replace(PLAN, batch=batch, gradient_accumulation=PLAN.batch // batch)
        parts = [draw(prepared(), split, 11, part, 1000) for part in range(split.gradient_accumulation)]
        for name in ("latents", "noise", "offset", "timesteps"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
        states = torch.cat([part.conditioning.states for part in parts])
        assert torch.equal(states, whole.conditioning.states)


def test_draws_cover_timesteps_artworks_and_captions_evenly() -> None:
    timesteps, empty, wide = [], 0, 0
    for step in range(400):
        drawn = draw(prepared(), PLAN, step, 0, 1000)
        timesteps.append(drawn.timesteps)
        empty += int((drawn.conditioning.states[:, 0, 0] == 0).sum())
        wide += drawn.latents.shape[-1] == 6
        assert len(set((drawn.timesteps // 250).tolist())) == 4  # one in each quarter
    every = torch.cat(timesteps).float()
    assert int(every.min()) < 10 and int(every.max()) > 989 and abs(float(every.mean()) - 499.5) < 12
    assert 0.2 < empty / 1600 < 0.3
    assert 0.3 < wide / 400 < 0.45  # 3 of 8 artworks are in the second bucket


def test_a_batch_larger_than_its_bucket_repeats_artworks_evenly() -> None:
    drawn = draw(prepared((2,)), replace(PLAN, batch=6, caption_dropout=0.0), 0, 0, 1000)
    assert sorted(drawn.conditioning.states[:, 0, 0].tolist()) == [1, 1, 1, 2, 2, 2]


def test_an_artwork_without_a_caption_gets_all_companions_in_turn() -> None:
    few = prepared((2,))
    (bucket,) = few.buckets
    texts = torch.cat([few.captions.states, torch.arange(100.0, 103.0).view(3, 1, 1).expand(3, 2, 3)])
    uncaptioned = replace(bucket, captions=torch.tensor([1, -1]))
    mixed = replace(few, buckets=(uncaptioned,), captions=Conditioning(texts), companions=3)
    plan = replace(PLAN, caption_dropout=0.0)
    drawn = [draw(mixed, plan, step, 0, 1000) for step in range(100)]
    texts = torch.cat([one.conditioning.states[:, 0, 0] for one in drawn])
    assert set(texts.tolist()) == {1, 100, 101, 102}
    assert float((texts == 1).float().mean()) == 0.5
    # What was drawn for the rest does not depend on it.
    assert all(torch.equal(a.latents, draw(few, plan, n, 0, 1000).latents) for n, a in enumerate(drawn))
    shown = torch.cat([draw(mixed, PLAN, step, 0, 1000).conditioning.states[:, 0, 0] for step in range(200)])
    assert 0.2 < float((shown == 0).float().mean()) < 0.3  # captions are dropped as often as ever


def test_latents_are_sampled_afresh_around_their_mean() -> None:
    few = prepared((1,))
    drawn = [draw(few, replace(PLAN, batch=1), step, 0, 1000).latents for step in range(200)]
    spread = torch.cat(drawn)
    assert float((spread.mean(0) - few.buckets[0].mean[0]).abs().max()) < 0.04
    assert float(spread.std(0).mean()) == pytest.approx(0.1, rel=0.1)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    plan = replace(PLAN, steps=100, warmup_fraction=0.1, learning_rate=1e-3, final_rate_fraction=0.1)
    rates = [learning_rate_at(plan, step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and rates[0] > 0
    assert rates[10] == pytest.approx(1e-3) and max(rates) == rates[10]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx((1e-3 + 1e-4) / 2) and rates[-1] == pytest.approx(1e-4, rel=0.02)
    assert learning_rate_at(replace(PLAN, steps=1), 0) > 0
