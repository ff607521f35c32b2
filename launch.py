#!/usr/bin/python3
"""Atelier starts here: `python launch.py` sets itself up the first time, then opens the window.

Standard library only. This file must also parse on Python 3.8, so that an old Python is told in one sentence.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing `typing` for it would cost time
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, NoReturn

OLDEST, NEWEST = (3, 11), (3, 14)  # the versions that torch 2.13 has wheels for, from 3.11 on

HELP = """\
Atelier: train a style from a handful of pictures, mix styles with sliders, share them as small files.

  python launch.py                                open Atelier in the browser (sets itself up the first time)
  python launch.py setup   [--newest] [--nf4]     only set up; with --newest, packages newer than those tested,
                                                  with --nf4, what keeps a base in four bits (NF4)
  python launch.py demo    [--out DIR]            train two styles, mix them, draw one sheet that shows it
  python launch.py train   NAME PICTURE...        train a style from pictures or folders of pictures
  python launch.py create  PROMPT [--style NAME=WEIGHT]...
                                                  paint pictures, with any blend of styles
  python launch.py styles  list | show | import | export | delete | restore | bake | conflicts | strength
                                                  look after your styles, and judge and bake mixes of them
  python launch.py blends  list | show | save | export | import | delete
                                                  look after the mixes that you keep
  python launch.py bases   list | add | use | change | merge | remove
                                                  choose the Stable Diffusion that styles are trained on
  python launch.py jobs                           look after trainings that run or have run
  python launch.py test    [--fast] [PYTEST OPTIONS]
                                                  run Atelier's own tests, or those without browser and training

Options:
  --home DIR      where your styles and pictures live (else ATELIER_HOME, else the folder Atelier in your home)
  --port NUMBER   port of the page
  --no-browser    don't open the browser
  --window        open a window of its own instead of the browser (where pywebview is installed)
  --no-venv       use this Python and its packages as they are, install nothing
  --json          answer with one JSON object on standard output
  --version       which version of Atelier this is
  -h, --help      this text; after a command, all that the command can be given
"""

COMMANDS = ("setup", "demo", "train", "create", "styles", "blends", "bases", "jobs", "test")
TAKES_VALUE = ("--home", "--port")
PATIENCE_SECONDS = 120  # for a window that is open and does not answer
# Two files of tests at once: half of the time a test waits for a trainer or a page in another process.
PYTEST = ("-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
FAST = ("-m", "not slow")  # tests/conftest.py says which are


def version_refusal(version: Any, implementation: str = "cpython", free_threaded: bool = False) -> str | None:
    """One sentence why that Python can't be used, or None."""
    pythons = "Python %d.%d to %d.%d" % (OLDEST + NEWEST)
    if implementation != "cpython" or free_threaded:
        kind = "the free-threaded build" if free_threaded else implementation
        return "Atelier needs the ordinary CPython, %s, and this is %s." % (pythons, kind)
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        this = ".".join(str(number) for number in version[:3])
        return "Atelier needs %s, and this is Python %s: get one from https://www.python.org/downloads/." % (
            pythons,
            this,
        )
    return None


def platform_refusal(tag: str, mac_version: str = "", libc: tuple[str, str] = ("", "")) -> str | None:
    """One sentence why this kind of computer can't be used, or None; `tag` as sysconfig.get_platform() says."""
    if tag.startswith("macosx") and tag.endswith("x86_64"):
        return "PyTorch is no longer made for Macs with Intel processors (nor for an Intel Python on an Apple one)."
    if tag.startswith("macosx") and mac_version and int(mac_version.split(".")[0]) < 14:
        return "PyTorch needs macOS 14 or newer, and this is macOS %s." % mac_version
    if tag in ("win32", "win-arm64") or tag.startswith("mingw"):
        return "PyTorch needs the 64-bit (x86-64) Python for Windows from https://www.python.org/downloads/."
    if tag.startswith("linux"):
        if tag not in ("linux-x86_64", "linux-aarch64"):
            return (
                "PyTorch is made for 64-bit x86 and ARM processors only, and this Python is for %s." % tag[6:]
            )
        numbers = libc[1].split(".")
        if libc[0] != "glibc" or (int(numbers[0]), int(numbers[1])) < (2, 28):
            return (
                "PyTorch needs a Linux with glibc 2.28 or newer (Debian 10, Ubuntu 20.04 and later have it)."
            )
    return None


def this_python_refusal() -> str | None:
    """One sentence why Atelier can't run with this Python on this computer, or None."""
    import platform
    import sysconfig

    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return version_refusal(sys.version_info, sys.implementation.name, free_threaded) or platform_refusal(
        sysconfig.get_platform(), platform.mac_ver()[0], platform.libc_ver()
    )


def command_in(argv: list[str]) -> str | None:
    """The subcommand in `argv`, None where the window is wanted."""
    skip = False
    for argument in argv:
        if skip:
            skip = False
        elif argument in TAKES_VALUE:
            skip = True
        elif not argument.startswith("-"):
            return argument
    return None


def option_in(argv: list[str], name: str) -> str | None:
    """The value of the option `name` in `argv`: `--port 8000` or `--port=8000`; None where it isn't given."""
    for place, argument in enumerate(argv):
        if argument == name:
            return argv[place + 1] if place + 1 < len(argv) else ""
        if argument.startswith(name + "="):
            return argument[len(name) + 1 :]
    return None


def pytest_options(argv: list[str]) -> list[str]:
    """What `test` hands on to pytest: all but the command itself and Atelier's own options."""
    options: list[str] = []
    after_command = skip = False
    for argument in argv:
        if skip:
            skip = False
        elif argument in TAKES_VALUE:
            skip = True
        elif argument == "test" and not after_command:
            after_command = True
        elif argument == "--fast":
            options += FAST
        elif argument not in ("--no-browser", "--window") and argument.split("=")[0] not in TAKES_VALUE:
            options.append(argument)
    return options


def port_refusal(text: str) -> str | None:
    """One sentence why the port in `text` can't be used, or None."""
    import socket

    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        return f"{text!r} is no port: give a number from 1 to 65535, such as --port 7860."
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", int(text))) == 0:
            return f"Port {text} is in use by another program: choose another, or leave --port out."
    return None


def running_page(home: Path) -> str | None:
    """The address, with the key, of the window that serves `home` already, or None.

    One that holds the home's lock is open, is just being opened or is closing, and may need long for it on a busy
    machine: its answer, or its end, is waited for.
    """
    import time

    from styles.storage.locks import is_held

    until = time.monotonic() + PATIENCE_SECONDS
    has_said_so = False
    while True:
        try:
            held = is_held(home / "running.lock")
        except ImportError:  # filelock, on Windows: the Python of `.venv`, which has it, looks again
            held = False
        page = answering_page(home, seconds=30 if held else 3)
        if page or not held or time.monotonic() > until:
            return page
        if not has_said_so:
            say("A window over this home is open already: waiting for its answer.")
            has_said_so = True
        time.sleep(0.2)


def answering_page(home: Path, seconds: float) -> str | None:
    """The address, with the key, of the page that says by itself within `seconds` that it serves `home`, or None."""
    from app.key import CHALLENGE, PROOF, address, open_port, proof, read_key
    from styles.storage.home import Home

    key, port = read_key(Home(home)), open_port(Home(home))
    if key is None or not port:
        return None
    import http.client
    import secrets

    # The file may be left from a window that was killed, and its port be another program's by now, which must not get
    # the key: whoever answers has to prove that he has it.
    challenge = secrets.token_hex(16)
    page = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        page.request("GET", "/", headers={CHALLENGE: challenge})
        is_ours = page.getresponse().getheader(PROOF) == proof(key, challenge)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        page.close()
    return address(port, key) if is_ours else None


def help_for(command: str) -> str:
    """What HELP says about one command."""
    lines = HELP.splitlines()
    first = next(
        place for place, line in enumerate(lines) if line.startswith(f"  python launch.py {command} ")
    )
    last = next(place for place in range(first + 1, len(lines)) if not lines[place].startswith("   "))
    return "\n".join(lines[first:last]) + "\n\nAll its options are told here once Atelier is set up."


def missing_packages(with_tests: bool) -> list[str]:
    """The packages that Atelier needs and this Python lacks."""
    from importlib.util import find_spec

    needed = [
        "torch",
        "diffusers",
        "transformers",
        "accelerate",
        "peft",
        "safetensors",
        "gradio",
        "typer",
        "filelock",
    ]
    return [name for name in needed + ["pytest", "xdist"] * with_tests if find_spec(name) is None]


def refuse(sentence: str) -> int:
    """Say why it doesn't go on; the exit code for bad input."""
    print(sentence, file=sys.stderr, flush=True)
    return 2


def say(words: str) -> None:
    """Progress goes to standard error: standard output is for answers."""
    print(words, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    refusal = this_python_refusal()
    if refusal:
        return refuse(refusal)
    from pathlib import Path

    root = Path(__file__).resolve().parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    command = command_in(argv)
    wants_help = "-h" in argv or "--help" in argv
    if command == "help" or (command is None and wants_help):
        print(HELP, end="")
        return 0
    if command is None and "--version" in argv:
        from styles.storage.version import version

        print(f"Atelier {version()}")
        return 0
    from styles.devices.threads import wait_passively

    wait_passively()  # in this process, and in all that it starts
    own_python = "--no-venv" in argv
    argv = [argument for argument in argv if argument != "--no-venv"]

    if command is None:  # the window
        from styles.storage.home import Home, expanded

        given_home, given_port = option_in(argv, "--home"), option_in(argv, "--port")
        home = Home(expanded(given_home)) if given_home else Home.default()
        page = running_page(home.root)
        if page:
            say(f"Atelier is running already: {page}")
            if "--no-browser" not in argv:
                from app.key import open_page

                open_page(home, page)
            return 0
        refusal = port_refusal(given_port) if given_port is not None else None
        if refusal:
            return refuse(refusal)
    if own_python:
        missing = missing_packages(command == "test")
        if missing:
            return refuse(
                f"This Python lacks {', '.join(missing)}: leave --no-venv out, or install requirements.txt into it."
            )
        return hand_over_here(root, argv, command)
    return hand_over_to_venv(root, argv, command, wants_help)


def hand_over_here(root: Path, argv: list[str], command: str | None) -> int:
    """Go on in this Python, which has all packages."""
    if command == "test":
        run_instead([sys.executable, *PYTEST, *pytest_options(argv)], root, None)
    try:
        from app.cli.main import main as command_line
    except ImportError as error:
        from app.setup.venv import log_surprise

        say(f"Atelier's packages don't load ({error}). The details are in {log_surprise(root)}.")
        say(f"Delete the folder {root / '.venv'} and start again: it will be made anew.")
        return 1
    return command_line(argv)


def hand_over_to_venv(root: Path, argv: list[str], command: str | None, wants_help: bool) -> int:
    """Set up what isn't set up yet, then go on in the Python of `.venv`."""
    from app.setup.nf4 import add_nf4
    from app.setup.pip import SetupProblem, child_environment, venv_python
    from app.setup.venv import log_surprise, read_stamp, set_up

    stamp = read_stamp(root)
    if not stamp and command is not None and command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, COMMANDS, n=1)
        return refuse(
            f"There is no command {command!r}." + (f" Is {near[0]!r} meant?" if near else " See --help.")
        )
    if wants_help and (not stamp or command == "test"):
        print(help_for(command or "setup"))
        return 0
    try:
        if wants_help:
            python = venv_python(root)
        else:
            newest = "--newest" in argv if command == "setup" else None
            python = set_up(root, say, with_tests=command == "test", again=command == "setup", newest=newest)
            if command == "setup" and "--nf4" in argv:
                add_nf4(root, say)
    except SetupProblem as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("Stopped. Run the same command again to go on.")
        return 1
    except Exception as error:
        say(f"Setting up failed unexpectedly ({error}). The details are in {log_surprise(root)}.")
        return 1
    environment = child_environment()
    if read_stamp(root).get("torch_installed") == "cpu":
        # A card that failed its proof must not be tried again by the app.
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    if command == "test":
        run_instead([str(python), *PYTEST, *pytest_options(argv)], root, environment)
    run_instead([str(python), str(root / "launch.py"), "--no-venv", *argv], None, environment)


def run_instead(command: list[str], folder: Path | None, environment: dict[str, str] | None) -> NoReturn:
    """Let `command` take this program's place; never returns."""
    import os

    sys.stdout.flush()
    environment = dict(os.environ) if environment is None else environment
    if os.name != "nt":
        if folder is not None:
            os.chdir(folder)
        os.execve(command[0], command, environment)
    # On Windows exec gives the terminal back while the program still runs. Ctrl+C reaches both programs there.
    import signal
    import subprocess

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(subprocess.call(command, cwd=folder, env=environment))


def console_is_ours(argv: list[str]) -> bool:
    """Whether this terminal was opened for us, by a double click, and would close with our last words unread."""
    if not (sys.stdin and sys.stdin.isatty()):
        return False
    import os

    if os.name != "nt":  # started by the terminal itself instead of by a shell in it; kept over run_instead
        return argv in ([], ["--no-venv"]) and os.getsid(0) == os.getpid()
    return not argv and all(name.lower().startswith("py") for name in console_programs())


def console_programs() -> list[str]:
    """The names of the programs that share this console on Windows; one without a name for what can't be told."""
    import ctypes
    import ntpath

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    numbers = (ctypes.c_uint32 * 64)()
    count = kernel.GetConsoleProcessList(numbers, 64)
    names = [""] if not 0 < count <= 64 else []
    for number in numbers[: min(count, 64)]:
        process = kernel.OpenProcess(0x1000, False, number)  # PROCESS_QUERY_LIMITED_INFORMATION
        path, length = ctypes.create_unicode_buffer(1024), ctypes.c_uint32(1024)
        has_path = process and kernel.QueryFullProcessImageNameW(process, 0, path, ctypes.byref(length))
        names.append(ntpath.basename(path.value) if has_path else "")
        if process:
            kernel.CloseHandle(process)
    return names


def run(argv: list[str]) -> int:
    """`main`, and after a failure a console of our own stays open until its last words were read."""
    code = 1
    try:
        code = main(argv)
    except SystemExit as ended:  # from run_instead
        code = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        say("Stopped.")
        code = 130
    finally:
        if code and console_is_ours(argv):
            say("Press Enter to close this window.")
            sys.stdin.readline()
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
