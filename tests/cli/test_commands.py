"""Help, wrong usage, colour, and errors as JSON."""

import json
import re
import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from geoseg.cli import commands
from geoseg.cli.app import app
from geoseg.cli.examples import EXAMPLES
from geoseg.cli.voice import VOICE, When

ROOT_COMMAND = get_command(app)


@pytest.fixture(autouse=True)
def plain_voice(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    yield
    VOICE.color, VOICE.as_json = When.AUTO, False


def call(*arguments, **environment):
    return CliRunner().invoke(app, list(arguments), env=environment, prog_name="geoseg")


def every_command(group=ROOT_COMMAND, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "no such command 'rum'; did you mean 'run'? see: geoseg --help"),
        (["models", "shwo"], "no such command 'shwo'; did you mean 'show'? see: geoseg models --help"),
        (["run", "x", "--sett", "a=b"],
         "no such option: --sett; did you mean '--set'? see: geoseg run --help"),
        (["run"], "missing argument 'PIPELINE'; see: geoseg run --help"),
        (["run", "a", "b"], "got unexpected extra argument(s) (b); see: geoseg run --help"),
        (["sample", "--map", "x", "-o", "y", "--size", "abc"],
         "--size: a whole number, not 'abc'; see: geoseg sample --help"),
        (["schema", "abc"],
         "kind: pipeline, training, legend, cluster or catalog, not 'abc'; see: geoseg schema --help"),
        (["init"], "say what to begin: SCENE --model BUNDLE for a map, or --train FOLDER for a training"),
        (["init", "a.tif"],
         "say what to begin: SCENE --model BUNDLE for a map, or --train FOLDER for a training"),
        (["init", "--train", "x", "--model", "y"],
         "--model goes with a scene; a training is begun with --train FOLDER alone"),
        (["init", "a.tif", "--model", "y", "--attribute", "z"], "--attribute goes with --train FOLDER"),
        (["view", "x", "--port", "8000"], "--port goes with --serve"),
        (["view", "x", "--serve", "--port", "0"], "--port: 1 to 65535, not 0"),
        (["run", "x", "--color", "blue"], "--color: auto, always or never, not 'blue'; see: geoseg --help"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_like_every_error(arguments, said):
    done = call(*arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"error: {said}\n")


def test_what_is_named_and_not_there_ends_with_one_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["inspect", "nothing.tif"], ["run", "nothing.yaml"], ["validate", "nothing"], ["view", "nothing"],
        ["report", "nothing"], ["models", "show", "nothing"], ["models", "show", "./nothing"],
        ["catalog", "show", "nothing"], ["train", "nothing"],
        ["init", "nothing.tif", "--model", "landcover-s2"],
        ["evaluate", "--map", "nothing.tif", "--reference", "nothing.gpkg"],
    ):  # fmt: skip
        done = call(*arguments)
        assert done.exit_code == 2, (arguments, done.stderr)
        assert done.stderr.count("error: ") == 1


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [(["inspect", "no.tif", "--json"], "SceneError"), (["validate", "--json"], "UsageError")],
)
def test_under_json_an_error_is_json(arguments, kind):
    done = call(*arguments)
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["exit_code"]) == (kind, done.exit_code)
    assert done.stderr == "".join(f"error: {line}\n" for line in error["messages"])
    assert call(*arguments[:-1]).stdout == ""  # the next call is not of this kind


RED = "\x1b[1;31merror:\x1b[0m"


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        (["--color=always"], {"NO_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_errors_have_colour_where_it_is_wanted(arguments, environment, colored):
    for words in ([*arguments, "inspect", "no.tif"], ["inspect", "no.tif", *arguments], [*arguments, "rum"]):
        said = call(*words, **environment).stderr
        assert said.startswith(RED if colored else "error: "), words
        assert ("\x1b" in said) == colored
    assert ("\x1b" in call("--help", *arguments, **environment).stdout) == colored


def test_what_follows_two_dashes_is_no_option_of_ours():
    assert commands._color_first(["run", "--color=never", "--", "--color"]) == [
        "--color=never", "run", "--", "--color",
    ]  # fmt: skip


def test_the_help_groups_the_commands():
    said = call("--help").stdout
    found = re.findall(r"─ ([A-Z][\w ]+) ─|^│ ([a-z]+) ", said, flags=re.MULTILINE)
    panels, last = {}, ""
    for panel, command in found:
        last = panel or last
        panels.setdefault(last, []).extend([command] if command else [])
    del panels["Options"]
    assert list(panels) == ["Make maps", "Look", "Check", "Models", "Compute"]
    assert sorted(name for names in panels.values() for name in names) == sorted(ROOT_COMMAND.commands)


def test_no_flag_seems_to_take_a_value():
    for _, command in every_command():
        for parameter in command.get_params(command.make_context("x", [], resilient_parsing=True)):
            if getattr(parameter, "is_flag", False):
                assert parameter.metavar == ""
    assert "<bool>" not in call("run", "--help").stdout + call("--help").stdout


def test_every_command_has_examples_that_can_be_typed():
    found = dict(every_command())
    assert set(EXAMPLES) == set(found)
    for path, lines in EXAMPLES.items():
        said = " ".join(call(*path.split(), "--help").stdout.split())
        for line in lines:
            assert f"$ geoseg {line}" in said
            words = shlex.split(line.partition(" >")[0])
            assert words[: len(path.split())] == path.split()
            found[path].make_context(path, words[len(path.split()) :])  # parses, and runs nothing


def test_short_forms():
    assert call("-V").stdout == call("--version").stdout
    for command in ("run", "train", "init", "sample", "evaluate", "models import", "models export"):
        assert {"-o", "--output"} <= {o for p in dict(every_command())[command].params for o in p.opts}
    for command in ("run", "train"):
        assert {"-n", "--dry-run"} <= {o for p in dict(every_command())[command].params for o in p.opts}


def test_the_address_of_the_docs_is_that_of_the_package(monkeypatch):
    class Metadata:
        def get_all(self, _):
            return ["Repository, https://host/code", "Documentation, https://host/docs"]

    monkeypatch.setattr(commands, "metadata", lambda _: Metadata())
    assert commands.docs_address() == "https://host/docs"
