"""The lab's shell against the real one: the same line, the same output, the same status."""

from __future__ import annotations

import io
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.lab.filters import FILTERS
from deployments.lab.shell import Io, run_line
from deployments.lab.shell.arithmetic import ArithmeticFault, compute
from deployments.lab.shell.scope import Scope
from deployments.lab.shell.words import split

VOLUMES = "0:vol a:online\n1:v1:offline\n2:v2:online\n"
PRELUDE = f"""lsvols() {{ printf '{VOLUMES}'; }}
lsfail() {{ echo 'CMMVC5753E no' >&2; return 1; }}
"""


def lsvols(words: list[str], streams: Io) -> int:
    streams.say(VOLUMES)
    return 0


def lsfail(words: list[str], streams: Io) -> int:
    streams.complain("CMMVC5753E no\n")
    return 1


PROGRAMS = {**FILTERS, "lsvols": lsvols, "lsfail": lsfail}


def ours(line: str) -> tuple[str, str, int]:
    out, err = io.BytesIO(), io.BytesIO()
    status = run_line(line, PROGRAMS.get, Io(io.BytesIO(), out, err))
    return out.getvalue().decode(), err.getvalue().decode(), status


LINES = r"""
lsvols | while IFS=: read id name state; do echo "$id=$name=$state"; done
lsvols | while read line; do set -- $line; echo $# $2; done
( lsvols )
(lsvols; exit 4); echo $?
set -e ; lsfail ; echo never
set -e; lsfail || echo caught; if lsfail; then :; fi; echo on
IFS=:; lsvols
lsfail || echo TAG $?
lsfail 2>&1 | grep -c CMMVC
lsfail && echo never; echo $?
! lsfail 2>/dev/null; echo $?
lsvols | grep -v offline | cut -d: -f2 | sort -r | tail -1
lsvols | cut -d : -f 1,3 | head -n 2
lsvols | cut -c1-3 | tr a-z A-Z | uniq -c | wc -l
lsvols | sort -t: -k2 -n
lsvols | grep -A1 "vol a"; lsvols | grep -B 1 v2; lsvols | grep -C1 -n v1
lsvols | grep -e "vol a" -e v2 | grep -o "[a-z]*line"; lsvols | grep -m1 line
lsvols | grep -A1 -B1 nothing; echo $?; lsvols | fgrep -c .; lsvols | egrep "v(1|2)"
printf "a\nb\nc\nd\ne\nf\na\n" | grep -A1 a
lsvols | cat /no/file; lsvols | head -1 /no/file 2>/dev/null; echo $?
echo a b c d | while read x y z; do echo "[$x][$y][$z]"; done
IFS=","; echo "a,b,,c" | while read -ra f; do echo ${#f[@]} ${f[3]}; done
for state in online offline; do echo -n "$state "; lsvols | grep -cw $state; done
for ((i = 0; i < 3; i++)); do echo $i; done
for i in 1 2 3 4; do [ $i = 2 ] && continue; [ $i -gt 3 ] && break; echo $i; done
until [ "$n" = 3 ]; do n=$((n + 1)); done; echo $n
i=5; while ((i > 3)); do ((i--)); done; echo $i
a=(`lsvols | cut -d: -f1`); echo ${#a[@]} ${a[1]} ${a[@]:1}
done_with=(); done_with[3]=y; echo "${done_with[3]}" "${done_with[9]}"
srcs=(7 8 9); srcs=(${srcs[@]:1}); srcs=(${srcs[@]} 10); echo ${srcs[@]}
stopped=red; status=stopped; colour=$(eval echo \$$status); echo $colour
f() { local x=$1; echo "f $x"; return 3; }; f q; echo $?
case consistent_stopped in consistent_*) echo yes;; *) echo no;; esac
[[ "v7_x" =~ ^v([0-9]+)_ ]] && echo ${BASH_REMATCH[1]}
[[ abc == a* && ! 3 -gt 5 ]] && echo ok
if [ -z "$none" -a 3 -le 3 ]; then echo empty; elif false; then echo no; else echo full; fi
x=hello; echo ${x:1:3} ${x#he} ${x%l*} ${x%%l*} ${#x} ${y:-d} ${x/l/L} ${x//l/L}
echo $((3 * 4 + 2)) $((-7 / 2)) $((-7 % 2)) $((2 ** 10)) $((1 < 2 ? 5 : 6))
x=$(printf "a  b\n\n"); echo $x "$x"
printf "%-5s|%03d\n" ab 7 c 8
echo "$(echo "in $(echo deep)")" `echo back`
x=1 ; x=2 : ; echo $x
IFS=: read a b <<< "left:right:more"; echo $a $b
for i in {1..3} {9..7} {01..03} {a..c} {1..9..4}; do echo -n "$i "; done
x=5; echo v_{1,2}x{a,b} "{1,2}" {a,b{1,2}} {} {x} \{a,b\} ${x}{a,b} {a,,b}c '{'1,2}
j=1; echo G_`expr $j + 1` $(expr 7 \* 3) $(expr 7 / 2); expr 3 - 3; echo $?
sleep 0; echo slept; echo a{1,2}"b c"{3,4}
echo "a;b" 'c|d' e\ f "\$x" # a comment
{ echo one; echo two; } | wc -l
""".strip().splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to compare with")
@pytest.mark.parametrize("line", LINES)
def test_a_line_does_what_it_does_in_a_real_bash(line: str) -> None:
    real = subprocess.run(
        ["bash", "-c", PRELUDE + line], capture_output=True, text=True, check=False, timeout=60
    )
    assert ours(line) == (real.stdout, real.stderr, real.returncode)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("lsvols -delim |", "rbash: -c: line 0: syntax error: unexpected end of file\n"),
        ("| lsvols", "rbash: -c: line 0: syntax error near unexpected token `|'\n"),
        ("for x in 1; done", "rbash: -c: line 0: syntax error near unexpected token `done'\n"),
        ("if true", "rbash: -c: line 0: syntax error: unexpected end of file\n"),
        ("echo 'open", "rbash: -c: line 0: unexpected EOF while looking for matching `''\n"),
        ("echo ${}", "rbash: -c: line 0: ${}: bad substitution\n"),
    ],
)
def test_what_is_no_script_is_refused_before_anything_runs(line: str, complaint: str) -> None:
    assert ours(f"echo ran; {line}") == ("", complaint, 2)


def test_what_is_restricted_stays_so() -> None:
    assert ours("lsvols > file") == (
        "",
        "rbash: file: restricted: cannot redirect output\n",
        1,
    )
    assert ours("perl -e 1")[1:] == ("rbash: perl: command not found\n", 127)


def test_a_loop_without_end_is_ended() -> None:
    out, err, status = ours("while true; do :; done")
    assert (out, status) == ("", 1)
    assert "too many steps" in err
    assert ours("f() { f; }; f")[2] == 1


WORDS = st.sampled_from(
    r"""while do done if then fi for x in ( ) { } | || && ; $x ${x} ${x:-y} $(lsvols) `lsfail` " '
    read [ ] [[ ]] -eq = == 1 $((x+1)) ((x++)) case esac *) ;; break continue exit set -e a=(1 2)
    < > 2>&1 <<< lsvols lsfail eval printf %s IFS=: x=3 ! # \ ${x[@]} ${#x} function f() return
    """.split()  # noqa: SIM905
)


@given(st.lists(WORDS, max_size=12))
def test_junk_ends_with_a_status_and_a_named_complaint(words: list[str]) -> None:
    _, err, status = ours(" ".join(words))
    assert 0 <= status <= 255
    assert "Traceback" not in err


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from(list("+-*/%<>")))
def test_arithmetic_is_the_shells(a: int, b: int, operator: str) -> None:
    text = f"({a}) {operator} ({b})"
    if operator in "/%" and b == 0:
        with pytest.raises(ArithmeticFault):
            compute(text, Scope({}))
        return
    whole = abs(a) // abs(b or 1) * (1 if a * b >= 0 else -1)
    expected = {"/": whole, "%": a - whole * b, "+": a + b, "-": a - b, "*": a * b}
    expected |= {"<": int(a < b), ">": int(a > b)}
    assert compute(text, Scope({})) == expected[operator]


@given(st.lists(st.text(alphabet="abc1 ", min_size=1, max_size=4), min_size=1, max_size=5))
def test_what_was_joined_by_colons_is_split_again(fields: list[str]) -> None:
    assert split(":".join(fields), ":") == fields
