"""The texts of the pieces of the Create room that are drawn in the browser; `{places}` are filled there."""

from __future__ import annotations

from app.i18n import say


def mix_words() -> dict[str, str]:
    """The texts of the styles of the mix."""
    return {
        "styles": say("Styles"),
        "chips": say("In front of your prompt:"),
        "chip_out": say("This word goes into the prompt. Click to leave it out."),
        "chip_in": say("This word is left out. Click to put it in."),
        "nothing": say("No styles in the mix: the base paints alone."),
        "add": say("Add a style"),
        "add_hint": say("Add a style: type its name or trigger word"),
        "full": say("There is room for {count} styles in a mix.", count="{count}"),
        "none_found": say("No style here has these words."),
        "more_found": say("and {count} more: type to find them", count="{count}"),
        "live": say("Paint as I move"),
        "live_help": say("A quick draft while a slider moves, the whole picture when it is let go."),
        "strengths": say("In strength"),
        "strengths_help": say("The sliders count in how strongly a style acts: 1 is the usual full effect."),
        "weight_of": say("Weight of {name}", name="{name}"),
        "strength_of": say("Strength of {name}", name="{name}"),
        "number": say("{label}, as a number", label="{label}"),
        "mute": say("Mute {name}", name="{name}"),
        "solo": say("Hear {name} alone", name="{name}"),
        "more": say("More about {name}", name="{name}"),
        "remove": say("Take {name} out of the mix", name="{name}"),
        "take_out": say("Take it out"),
        "restore": say("Restore {name} from the trash", name="{name}"),
        "restore_short": say("Restore it"),
        "composition": say("Composition of {name}", name="{name}"),
        "composition_short": say("Composition"),
        "texture": say("Texture of {name}", name="{name}"),
        "texture_short": say("Texture"),
        "when": say("When {name} acts", name="{name}"),
        "when_short": say("When"),
        "when_always": say("all the time"),
        "when_early": say("early: the layout"),
        "when_late": say("late: the surface"),
        "when_growing": say("growing"),
        "when_fading": say("fading"),
        "when_own": say("as drawn here"),
        "points": say("Points of {name}", name="{name}"),
        "points_help": say(
            "Share of the steps @ share of the weight, from 0 to 1: 0@0 1@1 grows from nothing."
        ),
        "strip": say("Try seven weights of {name}", name="{name}"),
        "strip_short": say("Try seven weights"),
        "mode": say("How they mix"),
        "mode_sum": say("added together"),
        "mode_take_turns": say("taking turns"),
        "mode_average_guidance": say("averaged (slower)"),
        "pad": say("Blend pad"),
        "pad_help": say("Drag the dot, or use the arrow keys: the nearer to a style, the more of it."),
        "pad_many": say("The blend pad is for two to four styles: mute the others."),
        "compare": say("Compare:"),
        "map": say("Blend map"),
        "leave_out": say("Leave each one out"),
        "blends": say("Kept blends"),
        "blend_name": say("Name of this blend"),
        "blend_keep": say("Keep this blend"),
        "blend_busy": say("One moment …"),
        "blend_kept": say("It is kept as “{name}”.", name="{name}"),
        "blend_none": say("No blend has been kept yet."),
        "blend_take": say("Take up the blend {name}", name="{name}"),
        "blend_taken": say("“{name}” is the mix now.", name="{name}"),
        "blend_share": say("Share the blend {name} as a file", name="{name}"),
        "blend_bring": say("Bring in the file of a blend …"),
        "blend_brought": say("“{name}” is among your blends.", name="{name}"),
        "blend_discard": say("Put the blend {name} into the trash", name="{name}"),
        "discarded": say("{name} is in the trash folder of your home.", name="{name}"),
        "total": say("Strength in all: {total} of {limit}", total="{total}", limit="{limit}"),
        "about": say("Strength in all: about {total} of {limit}", total="{total}", limit="{limit}"),
        "measuring": say("Measuring how strong the styles are on this base, which is done once."),
        "stop": say("Stop"),
        "balance": say("Balance"),
        "turns": say("Take turns"),
        "suit": say("Use these"),
        "no_server": no_server(),
    }


def paper_words() -> dict[str, str]:
    """The texts of shape, number and seed."""
    return {
        "shape": say("Shape"),
        "square": say("Square"),
        "portrait": say("Portrait"),
        "landscape": say("Landscape"),
        "own": say("Own size"),
        "width": say("Width in pixels"),
        "width_short": say("Width"),
        "height": say("Height in pixels"),
        "height_short": say("Height"),
        "pixels": say("pixels"),
        "count": say("How many"),
        "less": say("One less"),
        "more": say("One more"),
        "seed": say("Seed"),
        "dice": say("Roll another seed"),
        "keep_seed": say("Keep this seed for the next picture"),
    }


def stage_words() -> dict[str, str]:
    """The texts of the stage and the pictures below it."""
    return {
        "go": say("Create"),
        "busy": say("Painting …"),
        "go_help": say("Paint with all that is set (Ctrl+Enter)"),
        "stop": say("Stop"),
        "stop_help": say("Stop; what is finished stays (Esc)"),
        "stopping": say("Stopping. What is finished is kept, and you can go on."),
        "progress": say("Progress of the picture"),
        "preparing": say("Getting ready to paint."),
        "step": say("Step {step} of {steps}", step="{step}", steps="{steps}"),
        "draft_step": say("Draft: step {step} of {steps}", step="{step}", steps="{steps}"),
        "draft": say("Draft"),
        "draft_done": say("A quick draft. The whole picture comes when you let go."),
        "done": say("Done. It is kept among your pictures."),
        "stopped": say("Stopped. What was finished is kept."),
        "failed": say("Not painted."),
        "growing": say("The picture as it grows"),
        "picture": say("The picture of seed {seed}", seed="{seed}"),
        "sensible": say("Use the largest sensible size"),
        "anyway": say("Paint it all the same"),
        "pause": say("Pause the training, paint, go on"),
        "empty": say("Say what to paint, then press Create."),
        "pictures": say("Your pictures"),
        "no_pictures": say("What you paint is kept here, with its recipe."),
        "older": say("Older pictures"),
        "restore": say("Settings from a picture …"),
        "restore_help": say(
            "Choose or drop a PNG, JPEG or WebP from Atelier or another program to have its settings back."
        ),
        "recall": say("Use these settings"),
        "taking": say("One moment …"),
        "begin": say("Start from it"),
        "download": say("Save a copy"),
        "discard": say("To the trash"),
        "discarded": say("{name} is in the trash folder of your home.", name="{name}"),
        "no_server": no_server(),
    }


def no_server() -> str:
    """What a page says that can't reach Atelier any more."""
    return say("Atelier does not answer. Start it again; this page then goes on by itself.")
