"""GitHub's annotations: one line at its place, whatever the texts hold."""

from authproxy.cli.annotations import annotation


def test_an_annotation_is_one_line() -> None:
    """Severity, file, line, column, title and text, as workflows read them."""
    found = annotation("warning", "a.yaml", 3, 7, "code", "what is wrong")
    assert found == "::warning file=a.yaml,line=3,col=7,title=code::what is wrong\n"


def test_trap_no_text_is_a_command_of_its_own() -> None:
    """Line ends, `%` and the marks of properties are escaped."""
    found = annotation("error", "a,b:c%.yaml", 1, 1, "x::y", "50%\r\n::set-output name=a::b")
    assert found.count("\n") == 1
    assert "file=a%2Cb%3Ac%25.yaml," in found
    assert found.endswith("title=x%3A%3Ay::50%25%0D%0A::set-output name=a::b\n")
