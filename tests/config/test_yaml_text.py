import pytest
import yaml

from geoseg.config.yaml_text import parse_yaml

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 10)
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LAUGHS, "aliases repeat more than 10000 values"),
        (MERGES, "aliases repeat more than 10000 values"),
        ("a: &a [" + "x," * 2000 + "]\nb: [" + "*a," * 2000 + "]", "aliases repeat more than 10000 values"),
        (CHAIN, "more than 64 lists and mappings"),
        ("a: &a [*a]", "an alias stands inside the value that it repeats"),
        ("a: &a {b: *a}", "an alias stands inside the value that it repeats"),
        ("a: &a {*a : 1}", "an alias stands inside the value that it repeats"),
        ("a: &a [&b [*a], *b]", "an alias stands inside the value that it repeats"),
        ("a: " + "[" * 100_000 + "]" * 100_000, "more than 64 lists and mappings"),
        ("a: " + "[" * 1_500 + "]" * 1_500, "more than 64 lists and mappings"),
        ("a: " + "{a: " * 1_500 + "1" + "}" * 1_500, "more than 64 lists and mappings"),
        ("\n".join(" " * i + "a:" for i in range(1_000)), "more than 64 lists and mappings"),
        ("a: " + "9" * 5000, "a number of 5000 characters"),
        ("a: 1" + ":0" * 500_000, "a number of 1000001 characters"),
        ("a: 0x" + "f" * 5000, "a number of 5002 characters"),
        ("a: !!int '" + "9" * 5000 + "'", "a number of 5000 characters"),
        ("a: 1." + "9" * 5000, "a number of 5002 characters"),
    ],
)
def test_what_is_beyond_the_limits_is_refused_with_its_place(text, problem):
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        parse_yaml(text)
    assert caught.value.problem.startswith(problem)
    assert caught.value.problem_mark is not None


def test_what_is_within_the_limits_is_read_as_ever():
    text = """
base: &base {tile: 256, names: [a, b], when: 2024-06-01}
other: {<<: *base, tile: 128}
again: [*base, *base, {deep: [[[[1.5, null, true, 'x']]]]}]
"""
    node, data = parse_yaml(text)
    assert data == yaml.safe_load(text)
    assert node.value[1][0].start_mark.line == 2
    assert parse_yaml("") == (None, None)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("!!timestamp x", "timestamp"),
        ("!!float ''", "float"),
        ("!!int ''", "int"),
        ("!!int x", "int"),
        ("!!bool x", "bool"),
    ],
)
def test_a_tag_before_what_is_none_of_its_kind_is_refused_with_its_place(value, kind):
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        parse_yaml(f"a: 1\nb: {value}\n")
    assert caught.value.problem.startswith(f"this is no {kind} (")
    assert (caught.value.problem_mark.line, caught.value.problem_mark.column) == (1, 3)
