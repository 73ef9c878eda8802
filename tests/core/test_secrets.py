import pytest

from geoseg.core.errors import GeosegWarning, OutputError
from geoseg.core.secrets import HIDDEN, redact, redact_command, redacted

SIGNED = (
    "https://bucket.s3.amazonaws.com/a/b.tif?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAX%2F2026"
    "&X-Amz-Date=20261121T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=5ecre7"
)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("https://me:5ecre7@host/a.tif", "https://host/a.tif"),
        ("vrt://https://me:5ecre7@host/a.tif?bands=1&code=5ecre7", "vrt://https://host/a.tif?bands=1"),
        ("https://me:5ec@re7@host/a.tif: cannot be opened", "https://host/a.tif: cannot be opened"),
        ("https://me:5ec/re7@host/a.tif", "https://host/a.tif"),
        ("https://me:5ec@x/re7@host/a.tif", "https://host/a.tif"),
        ("https://me:5ec?re7@host/a.tif", "https://host/a.tif"),
        ("https://me:5ec#re7@host/a.tif", "https://host/a.tif"),
        ("tcp://me:5ec're7@host:8786", "tcp://host:8786"),
        ("tls://5ecre7@[::1]:8786", "tls://[::1]:8786"),
        ("/vsicurl/https://5ecre7@host:81/a.tif", "/vsicurl/https://host:81/a.tif"),
        (SIGNED, "https://bucket.s3.amazonaws.com/a/b.tif"),
        (f"{SIGNED}: no (HTTP 403)", "https://bucket.s3.amazonaws.com/a/b.tif: no (HTTP 403)"),
        (f"run '{SIGNED}' --quiet", "run 'https://bucket.s3.amazonaws.com/a/b.tif' --quiet"),
        (
            "https://acc.blob.core.windows.net/c/a.tif?sv=2024&se=2026-01-01&sr=b&sp=r&sig=5ecre7%3D",
            "https://acc.blob.core.windows.net/c/a.tif",
        ),
        ("https://host/t?item=3&token=5ecre7&band=2", "https://host/t?item=3&band=2"),
        ("https://host/t?subscription-key=5ecre7", "https://host/t"),
        ("https://host/t?code=5ecre7", "https://host/t"),
        ("https://host/t?key=5ecre7&CODE=5ecre7&whatever=5ecre7", "https://host/t"),
        ("https://host/t?5ecre7", "https://host/t"),
        ("https://host/t?band=1&5ecre7", "https://host/t?band=1"),
        ("https://host/t?%63ode=5ecre7&b%61nd=1", "https://host/t?b%61nd=1"),
        ("https://host/t#access_token=5ecre7", "https://host/t"),
        ("https://host/t?band=1#5ecre7.", "https://host/t?band=1."),
        ("https://host/t;jsessionid=5ecre7?band=1", "https://host/t?band=1"),
        ("https://host/t?code=5ec're7", "https://host/t"),
        ("HTTPS://me:5ecre7@HOST/t?CODE=5ecre7", "HTTPS://HOST/t"),
        ("https://host/t?url=https%3A%2F%2Fme:5ecre7%40h%2Fa%3Fcode=5ecre7", "https://host/t?url=https://h/a"),
        (
            "/vsicurl?use_head=no&header.Authorization=Bearer%205ecre7&url=https%3A//me:5ecre7@host/a.tif",
            "/vsicurl?use_head=no&url=https://host/a.tif",
        ),
        ("s3://AKIA:5ecre7@bucket/x", "s3://bucket/x"),
        ("['https://me:5ecre7@h/x', \"https://h?code=5ecre7\"]", "['https://h/x', \"https://h\"]"),
    ],
)  # fmt: skip
def test_credentials_leave_a_text(said, left):
    assert redact(said) == left
    assert redact(left) == left
    assert "5ecre7" not in str(OutputError(f"{said} is bad")) + str(GeosegWarning(said))


@pytest.mark.parametrize(
    "said",
    [
        "https://host/a.tif?item=3&version=2", "s3://bucket/a@b/c.tif", "me@host: a.tif?",
        "/data/a?token=1.tif",
        "a: /vsizip/b.zip/c.tif, d", "https://host/a.tif, https://host/b.tif?x=1.", "http://host:80/a@b.tif",
        "http://[::1]:80/a.tif", "vrt:///data/a.tif?bands=1,2,3", "tcp://127.0.0.1:8786",
        "package://rasterio/a.tif",
    ],
)  # fmt: skip
def test_other_texts_stay(said):
    assert redact(said) == said


def test_all_texts_of_a_document_are_looked_at():
    found = redacted({"scene": {"uri": "https://a:b@h/x"}, "list": ["https://a:b@h/y", 1, None], "n": 2})
    assert found == {"scene": {"uri": "https://h/x"}, "list": ["https://h/y", 1, None], "n": 2}


def test_values_under_the_names_of_secrets_are_hidden():
    document = {
        "cluster": {"env": {"A": "5ecre7", "B": "5ecre7"}, "password": "5ecre7", "workers": 2},
        "AWS_SECRET_ACCESS_KEY": "5ecre7", "api_key": 5, "weights_sha256": "ab", "uses_token": True,
    }  # fmt: skip
    assert redacted(document) == {
        "cluster": {"env": {"A": HIDDEN, "B": HIDDEN}, "password": HIDDEN, "workers": 2},
        "AWS_SECRET_ACCESS_KEY": HIDDEN, "api_key": HIDDEN, "weights_sha256": "ab", "uses_token": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "left"),
    [
        ("tcp://me:5ecre7@host:1", "tcp://host:1"),
        ("--cluster=tcp://me:5ecre7@host:1", "--cluster=tcp://host:1"),
        ("scene=https://h/a.tif?code=5ecre7", "scene=https://h/a.tif"),
        ("cluster.env.AWS_SECRET_ACCESS_KEY=5ecre7", "cluster.env.AWS_SECRET_ACCESS_KEY=***"),
        ("cluster.env.HOME=5ecre7", "cluster.env.HOME=***"),
        ("cluster={env: {A: 5ecre7, B: 5ecre7}, wait: 5}", "cluster={env: ***, wait: 5}"),
        ("cluster={password: '5ecre7 5ecre7', wait: 5}", "cluster={password: ***, wait: 5}"),
        ('cluster={"api_key": "5ecre7"}', 'cluster={"api_key": ***}'),
        ("token=5ecre7 5ecre7", "token=***"),
        ("tiling.tile=512", "tiling.tile=512"), ("environment=5", "environment=5"), ("--quiet", "--quiet"),
    ],
)  # fmt: skip
def test_a_command_loses_what_is_given_to_secrets(argument, left):
    assert redact_command([argument]) == [left]
