"""Kept forms: opened by the browser's secret alone, once, for some minutes."""

from authproxy.state.memory_records import MemoryRecords
from authproxy.web.portal.kept_forms import BYTES_MOST, KIND, SECONDS, KeptForm, KeptForms

NOW = 1_000_000.0
FORM = KeptForm(
    "staff", "ann", "https://a.test", "/x?y", "text/plain", bytes(range(256)) * (BYTES_MOST // 256)
)


async def test_what_is_kept_comes_back_as_it_was() -> None:
    """The largest form, every byte of it; for whoever has the secret, until it is over or taken."""
    forms = KeptForms(MemoryRecords())
    await forms.keep("secret", FORM, NOW)
    assert await forms.find("secret", NOW + SECONDS - 1) == FORM
    assert await forms.find("secret", NOW + SECONDS) is None
    for other in ("another", "", None, "\ud800"):
        assert await forms.find(other, NOW) is None
    assert (await forms.take("secret"), await forms.take("secret")) == (True, False)
    assert await forms.find("secret", NOW) is None


async def test_what_was_changed_is_none() -> None:
    """A byte of the record, or another record in its place, is not opened."""
    records = MemoryRecords()
    forms = KeptForms(records)
    await forms.keep("secret", FORM, NOW)
    (record,) = await records.since(KIND, 0, NOW)
    for at in (0, 12, len(record.value) - 1):
        changed = bytearray(record.value)
        changed[at] ^= 1
        await records.put(KIND, record.key, bytes(changed), NOW + 1)
        assert await forms.find("secret", NOW) is None
    await forms.keep("other", FORM, NOW)
    other = (await records.since(KIND, 0, NOW))[-1]
    await records.put(KIND, record.key, other.value, NOW + 1)
    assert await forms.find("secret", NOW) is None
