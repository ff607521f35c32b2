"""The commands `jobs ...`: trainings, running and past."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import DeviceOptions, HomeOption, JsonOption, command_group, console_of, open_studio
from app.i18n import say
from app.signatures import spread

JobId = Annotated[str, typer.Argument(help="The job's id, as `jobs list` shows it.")]
jobs_commands = command_group("Trainings, running and past.")


@jobs_commands.command("list")
def jobs_list(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the trainings, newest first."""
    jobs = open_studio(context, home).jobs()
    words = (
        "\n".join(f"{job.id}  {job.state:<12} {job.words}" for job in jobs) or "There are no trainings yet."
    )
    console_of(context).answer({"jobs": [job.facts() for job in jobs]}, words)


def jobs_resume(
    context: typer.Context,
    job: JobId,
    where: DeviceOptions,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a paused or interrupted training."""
    from app.cli.follow import follow_on_console

    console, studio = console_of(context), open_studio(context, home)
    where.apply(studio)
    result = follow_on_console(studio, studio.resume_training(job), console)
    console.answer(result, say("{name} is ready: {path}", name=result["name"], path=result["style"]))


jobs_commands.command("resume")(spread(jobs_resume))


@jobs_commands.command("keep")
def jobs_keep(
    context: typer.Context,
    job: JobId,
    step: Annotated[int, typer.Argument(help="The step of one of its checkpoints.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a finished training's style anew, as it was after another step."""
    done = open_studio(context, home).trainings.keep(job, step)
    console_of(context).answer(
        {"style": done.style_path, "id": done.style_id, "name": done.style_name, "steps": done.step},
        say(
            "{style_name} is now as after step {step}: {style_path}",
            style_name=done.style_name,
            step=done.step,
            style_path=done.style_path,
        ),
    )


@jobs_commands.command("stop")
def jobs_stop(
    context: typer.Context,
    job: JobId,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a training early and keep the style as far as it has come."""
    open_studio(context, home).stop_training(job)
    console_of(context).answer(
        {"job": job, "requested": "stop"}, say("The training will stop and keep its style.")
    )


@jobs_commands.command("pause")
def jobs_pause(
    context: typer.Context,
    job: JobId,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause a training; `jobs resume` goes on with it."""
    open_studio(context, home).pause_training(job)
    console_of(context).answer({"job": job, "requested": "pause"}, say("The training will pause."))
