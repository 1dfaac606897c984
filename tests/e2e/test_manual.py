"""The manual pages and the shell's completion, as they are made of the program's tables."""
import re
import shutil
import subprocess

import pytest

from test_cli import COMMANDS

PAGES = ("submitd.8", "submitd.ini.5")
QUEUE_WORDS = ["list", "show", "retry", "hold", "release", "cancel"]


def made(program, page):
    return subprocess.run([program, page], capture_output=True, text=True, check=True).stdout


def shown(page):
    """The page as `man` would show it, without its bold; a warning of roff is a failure."""
    ran = subprocess.run(["groff", "-ww", "-man", "-Tascii", "-P-cbou", "-rLL=500n"], input=page, capture_output=True,
                         text=True, check=True)
    assert not ran.stderr, ran.stderr
    return re.sub(r"[ \t]+", " ", ran.stdout)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.skipif(not shutil.which("groff"), reason="groff-base is in tools/packages/test.txt")
def test_pages_are_good_roff(docs_program, page):
    assert f"{page[:-2].upper()}({page[-1]})" in shown(made(docs_program, page))


def test_each_option_is_in_the_manual(docs_program):
    page = shown(made(docs_program, "submitd.ini.5"))
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (\S*|`.*?`) \| (.*) \|$", made(docs_program, "configuration"), re.M)
    assert len(rows) > 40
    for name, _, preset, meaning in rows:
        assert re.search(rf"^ *{name}\b", page, re.M), name
        assert meaning.replace("`", "") in page, name
        here = preset.partition(", on Windows")[0].strip("`")  # the page is for systems that have `man`
        assert here in ("", "required") or f"by default {here}." in page, name


def test_each_command_is_in_the_manual(docs_program):
    page = shown(made(docs_program, "submitd.8"))
    for word in [*COMMANDS, *QUEUE_WORDS, "protect", "--from", "--json", "SIGHUP", "CREDENTIALS_DIRECTORY"]:
        assert re.search(rf"^ *{word}\b", page, re.M), word


def completed(program, tmp_path, *words):
    """What TAB offers behind `submitd WORDS`, the last of which is incomplete."""
    script = tmp_path / "completion"
    script.write_text(made(program, "completion"))
    ran = subprocess.run(["bash", "-uc", 'source "$0"; COMP_WORDS=(submitd "$@"); COMP_CWORD=$#; _submitd;'
                          'printf "%s\\n" "${COMPREPLY[@]}"', str(script), *words],
                         capture_output=True, text=True, check=True)
    assert not ran.stderr, ran.stderr
    return ran.stdout.split()


@pytest.mark.parametrize("words, offered", [
    ([""], [*COMMANDS, "--help", "--version"]),
    (["do"], ["doctor"]),
    (["queue", ""], [*QUEUE_WORDS, "--config", "--help", "--json", "--message"]),
    (["doctor", "--"], ["--config", "--help", "--account", "--from", "--to", "--login"]),
    (["secret", "p"], ["protect"]),
    (["doctor", "--from", ""], []),
    (["check", "--config", "/etc/passw"], ["/etc/passwd", "/etc/passwd-"]),
    (["nosuch", ""], []),
], ids=str)
def test_completion(docs_program, tmp_path, words, offered):
    got = completed(docs_program, tmp_path, *words)
    assert sorted(got) == sorted(offered) or (words[0] == "check" and "/etc/passwd" in got)
