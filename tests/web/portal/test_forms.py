"""The tokens of forms: they belong to one browser, and do not tell what they come from."""

from authproxy.web.portal.forms import form_token, is_our_form, new_secret


def test_a_token_belongs_to_its_secret() -> None:
    """No other secret, no secret at all, and no token that is only nearly right."""
    secret = new_secret()
    token = form_token(secret)
    assert is_our_form(secret, token)
    assert secret not in token
    assert len({new_secret() for _ in range(50)}) == 50
    for other in (new_secret(), "", None):
        assert not is_our_form(other, token)
    for wrong in ("", token[:-1], token + "x", "\ud800", form_token("")):
        assert not is_our_form(secret, wrong)
    assert not is_our_form("", form_token(""))
