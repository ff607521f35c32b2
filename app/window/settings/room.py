"""The Settings room: base models, this machine, files and disk, other devices, language, help."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from app import password as passwords
from app.disk import clear_copies, disk_use, empty_trash, size_words
from app.drawing import as_markdown, facts_table
from app.i18n import say, translated
from app.key import open_port
from app.machine import Machine, device_of, look_at
from app.report import libraries, newest_log, report
from app.settings import EXPERT, Settings
from app.studio import Studio
from app.window.server.answers import QUIET, answering, in_turn
from app.window.server.middleware import own_addresses
from app.window.settings.bases import bases_section
from app.window.tour import RELOAD
from styles.quantization.weight_cache import clear_cache
from styles.storage.setting import Declared, settings_of
from styles.storage.version import version

MACHINE = {name: one for name, one in settings_of(Settings).items() if one.setting.label}
ASKED: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
# What changes the settings does so in turn: each change is made from what they were.
SETTINGS, KEPT_LAST = in_turn("settings"), in_turn("settings", "always_last")


def settings_room(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> gr.State:
    """Lay out the room, a tab for each of its parts; returns a count of the changes to the bases."""
    with gr.Tabs(elem_classes="parts"):
        with gr.Tab(say("Base models")):
            bases = bases_section(studio, tab)
        with gr.Tab(say("This machine")) as machine:
            machine_section(studio, machine)
        with gr.Tab(say("Files and disk")) as files:
            files_section(studio, files)
        with gr.Tab(say("Language and other devices")):
            access_section(studio, page)
        with gr.Tab(say("Help and about")) as about:
            about_section(studio, about)
    return bases


def machine_section(studio: Studio, tab: gr.Tab) -> None:
    """What there is, in plain words, and what of it to use."""
    answered = answering(studio, "looking at the machine")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=340, elem_classes="card"):
            gr.Markdown("### " + say("What there is"))
            words = gr.Markdown(say("Looking…"))
            again = gr.Button(say("Look again"), size="sm", elem_classes="fit")
            with gr.Accordion(say("In numbers"), open=False):
                numbers = gr.HTML()
        with gr.Column(min_width=340, elem_classes="card"):
            gr.Markdown("### " + say("How to use it"))
            first = {name: one for name, one in MACHINE.items() if not one.setting.group}
            fields = {name: _field(one, studio.settings) for name, one in first.items()}
            with gr.Accordion(say(EXPERT), open=False):
                rest = {name: one for name, one in MACHINE.items() if one.setting.group}
                fields |= {name: _field(one, studio.settings) for name, one in rest.items()}
            outcome = gr.Markdown("", elem_classes="said")
    shown = gr.State(None)  # the settings as this page shows them

    @answered
    def look(before: Settings | None) -> list[Any]:
        machine, now = look_at(studio), studio.settings
        lines = "\n".join(f"- {as_markdown(line)}" for line in machine.words())
        # A switch may have been moved while the machine was looked at.
        values = {name: gr.skip() if now == before else getattr(now, name) for name in fields}
        device = {} if now == before else {"value": now.device}
        values["device"] = gr.update(choices=_devices(machine, now.device), **device)
        return [now, lines, facts_table(machine.rows()), *values.values()]

    @answered
    def change(*values: Any) -> list[Any]:
        before = studio.settings
        studio.change_settings(replace(before, **dict(zip(fields, values, strict=True))))
        now, kept = studio.settings, say("Kept. It holds from the next picture and the next training on.")
        if now.device == before.device:
            return [now, kept]
        return [now, f"{kept} {as_markdown(translated(device_of(now.device)[1]))}".strip()]

    switches = list(fields.values())
    gr.on([tab.select, again.click], look, shown, [shown, words, numbers, *switches], **KEPT_LAST | ASKED)
    gr.on([switch.input for switch in switches], change, switches, [shown, outcome], **KEPT_LAST)


def _field(one: Declared, now: Settings) -> Any:
    """The field of a setting of the machine."""
    about = {"value": getattr(now, one.field), "label": say(one.setting.label), "info": say(one.setting.help)}
    if one.field == "device":
        # Which cards there are is known once torch is asked, when somebody looks.
        return gr.Dropdown(["auto", "cpu"], allow_custom_value=True, **about)
    return gr.Radio(list(one.setting.choices), **about) if one.setting.choices else gr.Checkbox(**about)


def _devices(machine: Machine, chosen: str) -> list[tuple[str, str]]:
    """What can be chosen to compute on, each as (words, value); what was chosen before is among it, here or not."""
    devices = {"auto": "auto", "cpu": "cpu"} | {card.device: translated(card.words) for card in machine.cards}
    if chosen not in devices:
        devices[chosen] = say("{device} (chosen before)", device=chosen)
    return [(words, device) for device, words in devices.items()]


def files_section(studio: Studio, tab: gr.Tab) -> None:
    """Where everything lies, how much room it takes, and what can go."""
    answered = answering(studio, "looking after the disk")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=340, elem_classes="card"):
            gr.Markdown("### " + say("Your data folder"))
            gr.Textbox(str(studio.home.root), label=say("All that is yours lies here"), interactive=False,
                       buttons=["copy"])  # fmt: skip
            gr.Markdown(
                say(
                    "Plain folders that you can open and copy. To keep them elsewhere: close Atelier, move the "
                    "folder, and start `launch.py` with `--home` and its new place, or name that in the environment "
                    "variable `ATELIER_HOME`."
                ),
                elem_classes="quiet",
            )
        with gr.Column(min_width=340, elem_classes="card"):
            gr.Markdown("### " + say("Disk use"))
            use = gr.HTML()
            said = gr.Markdown("", elem_classes="said")
            with gr.Row(elem_classes="row-tight"):
                tidy = gr.Button(say("Clean up finished trainings"), interactive=False)
                empty = gr.Button(say("Empty the trash"), interactive=False)
                forget = gr.Button(say("Delete copies in four bits"), interactive=False)
            gr.Markdown(
                say(
                    "Cleaning up deletes the copies of artworks and the checkpoints that finished trainings made for "
                    "themselves. Your own pictures, the styles and the previews stay; another checkpoint can't be "
                    "chosen any more afterwards."
                ),
                elem_classes="quiet",
            )
            with gr.Group(visible=False) as sure:
                question = gr.Markdown()
                with gr.Row(elem_classes="row-tight"):
                    yes = gr.Button(say("Delete for good"), variant="stop")
                    no = gr.Button(say("Keep it"))
            pending = gr.State("")

    def shown() -> list[Any]:
        now = disk_use(studio.home)
        return [
            facts_table(now.rows()),
            gr.update(interactive=now.copies > 0),
            gr.update(interactive=now.trash > 0),
            gr.update(interactive=now.quantized > 0),
        ]

    def ask(what: str) -> list[Any]:
        now = disk_use(studio.home)
        if what == "copies":
            text = say(
                "Delete {size} of copies and checkpoints of finished trainings?", size=size_words(now.copies)
            )
        elif what == "quantized":
            text = say(
                "Delete {size} of copies in four bits? They are made again when they are needed, from the bases, which all stay; that takes a while.",
                size=size_words(now.quantized),
            )
        else:
            text = say("Delete {size} in the trash? What lies there can't be brought back then.",
                       size=size_words(now.trash))  # fmt: skip
        return [what, gr.update(visible=True), text, ""]

    @answered
    def delete(what: str) -> list[Any]:
        clear = {"copies": clear_copies, "quantized": clear_cache, "trash": empty_trash}
        freed = clear[what](studio.home) if what in clear else 0
        words = say("{size} are free again.", size=size_words(freed))
        return [words, gr.update(visible=False), *shown()]

    table = [use, tidy, empty, forget]
    tab.select(answered(shown), None, table, **in_turn("disk", "always_last") | ASKED)
    for button, what in ((tidy, "copies"), (empty, "trash"), (forget, "quantized")):
        button.click(
            answered(lambda what=what: ask(what)), None, [pending, sure, question, said], **in_turn("disk")
        )
    yes.click(delete, pending, [said, sure, *table], **in_turn("disk") | ASKED)
    no.click(lambda: gr.update(visible=False), None, sure, **in_turn("disk"))


def access_section(studio: Studio, page: gr.Blocks) -> None:
    """Which language is spoken, and who else may use the window."""
    answered = answering(studio, "changing the settings")
    settings = studio.settings
    with gr.Row(equal_height=False):
        with gr.Column(min_width=340, elem_classes="card"):
            gr.Markdown("### " + say("Language"))
            language = gr.Radio(
                [(say("as the system"), "auto"), ("English", "en"), ("Español", "es")], value=settings.language,
                label=say("Language of the window and of all messages"),
            )  # fmt: skip
            spoken = gr.Markdown("", elem_classes="said")
        with gr.Column(min_width=340, elem_classes="card"):
            gr.Markdown("### " + say("Other devices"))
            gr.Markdown(
                say(
                    "A tablet or another computer in your network can use this window, with a password. It is off "
                    "unless you switch it on. The password and your pictures travel unencrypted: do so only in a "
                    "network that you trust."
                ),
                elem_classes="quiet",
            )
            password = gr.Textbox(
                "", label=say("Password"), type="password", max_lines=1,
                placeholder=say("kept; type a new one to change it") if settings.password else "",
                info=say("8 characters or more; the name that is asked for beside it does not matter."),
            )  # fmt: skip
            shared = gr.Checkbox(settings.shared, label=say("Let other devices in"))
            keep = gr.Button(say("Keep this"), elem_classes="fit")
            door = gr.Markdown("", elem_classes="said")

    @answered
    def speak_from_now(language: str) -> str:
        studio.change_settings(replace(studio.settings, language=language))
        return say("Kept. It is spoken from the next start of Atelier on.")

    @answered
    def change(allowed: bool, typed: str) -> list[Any]:
        stored = passwords.hashed(typed) if typed else studio.settings.password
        studio.change_settings(replace(studio.settings, shared=allowed, password=stored))
        return [door_words(studio), ""]

    language.input(speak_from_now, language, spoken, **KEPT_LAST)
    gr.on([keep.click, password.submit], change, [shared, password], [door, password], **SETTINGS | ASKED)

    @answered
    def as_kept() -> list[Any]:
        now = studio.settings
        return [now.language, now.shared, door_words(studio) if now.shared else ""]

    page.load(as_kept, None, [language, shared, door], **QUIET)


def door_words(studio: Studio) -> str:
    """Where other devices find the window, in Markdown."""
    if not studio.settings.shared:
        return say("From the next start on, only this computer can use the window.")
    addresses = [f"`http://{address}:{open_port(studio.home)}/`" for address in own_addresses()]
    if not addresses:
        return say("This computer is in no network now, so no other device can reach it.")
    return say(
        "From the next start on, other devices find the window at {places}", places=", ".join(addresses)
    )


def about_section(studio: Studio, tab: gr.Tab) -> None:
    """What to do when something went wrong, how to update, and what Atelier is made of."""
    answered = answering(studio, "writing the report")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=340, elem_classes="card"):
            gr.Markdown("### " + say("When something went wrong"))
            gr.Markdown(
                say(
                    "The report says what machine this is, which versions run and what the log said last. Names of "
                    "styles and pictures, prompts and folders are left out of it."
                ),
                elem_classes="quiet",
            )
            make = gr.Button(say("Write the report"), elem_classes="fit")
            text = gr.Textbox(label=say("Report"), lines=8, max_lines=14, interactive=False, buttons=["copy"],
                              visible=False)  # fmt: skip
            log = gr.Markdown("", elem_classes="quiet")
            gr.Markdown("### " + say("The tour"))
            tour = gr.Button(say("Show the tour of the first start again"), elem_classes="fit")
        with gr.Column(min_width=340, elem_classes="card"):
            gr.Markdown("### " + say("About Atelier"))
            gr.Markdown(say("This is the version {version}.", version=as_markdown(version())))
            gr.Markdown(
                say(
                    "Atelier never looks for a newer version by itself, and nothing about you or your work leaves this "
                    "machine. To update: close it, get the new version with `git pull` or unpack it over the old one, "
                    "and start it; packages are brought up to date then, and your data folder is not touched."
                ),
                elem_classes="quiet",
            )
            gr.Markdown(
                say(
                    "Atelier is free under the Apache License 2.0. The starter model, the styles and the artworks that "
                    "come along are in the public domain (CC0 1.0). Each base model has a licence of its own, told "
                    "where it is added."
                ),
                elem_classes="quiet",
            )
            with gr.Accordion(say("Built on"), open=False):
                parts = gr.HTML()

    @answered
    def write() -> Any:
        return gr.update(value=report(studio), visible=True)

    @answered
    def shown() -> list[Any]:
        newest = newest_log(studio.home)
        words = say("Nothing has gone wrong yet: there is no log.")
        if newest is not None:
            words = say("The whole log: {file}", file=f"`{newest}`")
        return [words, facts_table([(escape(name), licence) for name, licence in libraries()])]

    make.click(write, None, text, **ASKED)
    tour.click(answered(lambda: bring_back_tour(studio)), None, None, **SETTINGS).success(
        None, None, None, js=RELOAD
    )
    tab.select(shown, None, [log, parts], **QUIET)


def bring_back_tour(studio: Studio) -> None:
    """Show the tour on the next look at the page."""
    studio.change_settings(replace(studio.settings, tour_seen=False))
