import pytest

from geoseg.core.errors import GeosegWarning, OutputError
from geoseg.core.secrets import redact, redacted

SIGNED = (
    "https://bucket.s3.amazonaws.com/a/b.tif?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAX%2F2026"
    "&X-Amz-Date=20261121T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=5ecre7"
)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("https://me:5ecre7@host/a.tif", "https://host/a.tif"),
        ("https://me:5ec@re7@host/a.tif: cannot be opened", "https://host/a.tif: cannot be opened"),
        ("/vsicurl/https://5ecre7@host:81/a.tif", "/vsicurl/https://host:81/a.tif"),
        (SIGNED, "https://bucket.s3.amazonaws.com/a/b.tif"),
        (f"{SIGNED}: no (HTTP 403)", "https://bucket.s3.amazonaws.com/a/b.tif: no (HTTP 403)"),
        (f"run '{SIGNED}' --quiet", "run 'https://bucket.s3.amazonaws.com/a/b.tif' --quiet"),
        ("https://acc.blob.core.windows.net/c/a.tif?sv=2024&se=2026-01-01&sr=b&sp=r&sig=5ecre7%3D",
         "https://acc.blob.core.windows.net/c/a.tif"),
        ("https://host/t?item=3&token=5ecre7&band=2", "https://host/t?item=3&band=2"),
        ("https://host/t?subscription-key=5ecre7", "https://host/t"),
        ("/vsicurl?use_head=no&header.Authorization=Bearer%205ecre7&url=https%3A//me:5ecre7@host/a.tif",
         "/vsicurl?use_head=no&url=https://host/a.tif"),
        ("s3://AKIA:5ecre7@bucket/x", "s3://bucket/x"),
    ],
)  # fmt: skip
def test_credentials_leave_a_text(said, left):
    assert redact(said) == left
    assert "5ecre7" not in str(OutputError(f"{said} is bad")) + str(GeosegWarning(said))


@pytest.mark.parametrize(
    "said",
    ["https://host/a.tif?item=3&version=2", "s3://bucket/a@b/c.tif", "me@host: a.tif?", "/data/a?token=1.tif",
     "a: /vsizip/b.zip/c.tif, d", "https://host/a.tif, https://host/b.tif?x=1."],
)  # fmt: skip
def test_other_texts_stay(said):
    assert redact(said) == said


def test_all_texts_of_a_document_are_looked_at():
    found = redacted({"scene": {"uri": "https://a:b@h/x"}, "list": ["https://a:b@h/y", 1, None], "n": 2})
    assert found == {"scene": {"uri": "https://h/x"}, "list": ["https://h/y", 1, None], "n": 2}
