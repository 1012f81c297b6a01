"""Encryption by the store: which call carries what, and when an answer shows it was ignored."""

import base64

import pytest

from blocks.errors import ConfigError
from blocks.store.encryption import (
    Call,
    Encryption,
    Mode,
    check_transport,
    extra_args,
    parse_customer_key,
    unmet,
)

KEY = bytes(range(32))
CRN = "crn:v1:bluemix:public:kms:us-south:a/1:2:key:3"
ARN = "arn:aws:kms:eu-central-1:1:key/1234"

AMAZON_KMS = Encryption(Mode.KMS, "AWS", "1234")
IBM_KMS = Encryption(Mode.KMS, "IBM", CRN)
IBM_AES = Encryption(Mode.AES, "IBM")
SSE_C = Encryption(Mode.AES, "IBM", customer_key=KEY)


def calls_with_arguments(encryption: Encryption) -> set[Call]:
    return {call for call in Call if extra_args(encryption, call)}


@pytest.mark.parametrize("mode", [Mode.DISABLE, Mode.CLIENT])
@pytest.mark.parametrize("provider", ["AWS", "IBM"])
def test_nothing_is_asked_of_the_store_when_it_need_not_encrypt(mode, provider):
    assert calls_with_arguments(Encryption(mode, provider)) == set()


def test_amazon_kms_goes_where_an_object_begins():
    asked = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "1234"}
    assert calls_with_arguments(AMAZON_KMS) == {Call.PUT_OBJECT, Call.CREATE_MULTIPART_UPLOAD}
    assert extra_args(AMAZON_KMS, Call.PUT_OBJECT) == asked
    default_key = extra_args(Encryption(Mode.KMS, "AWS"), Call.PUT_OBJECT)
    assert default_key == {"ServerSideEncryption": "aws:kms"}


def test_ibm_kms_is_a_property_of_the_bucket_at_creation():
    assert calls_with_arguments(IBM_KMS) == {Call.CREATE_BUCKET}
    assert extra_args(IBM_KMS, Call.CREATE_BUCKET) == {
        "IBMSSEKPEncryptionAlgorithm": "AES256",
        "IBMSSEKPCustomerRootKeyCrn": CRN,
    }


def test_ibm_aes_asks_for_aes256():
    assert calls_with_arguments(IBM_AES) == {Call.PUT_OBJECT, Call.CREATE_MULTIPART_UPLOAD}
    assert extra_args(IBM_AES, Call.PUT_OBJECT) == {"ServerSideEncryption": "AES256"}


def test_a_customer_key_goes_with_every_call_that_touches_bytes():
    assert calls_with_arguments(SSE_C) == set(Call) - {Call.CREATE_BUCKET}
    copy = extra_args(SSE_C, Call.UPLOAD_PART_COPY)
    assert copy["CopySourceSSECustomerKey"] == copy["SSECustomerKey"] == KEY


@pytest.mark.parametrize("encryption", [AMAZON_KMS, IBM_AES, SSE_C], ids=["kms", "aes", "sse-c"])
def test_an_answer_that_says_nothing_means_it_was_ignored(encryption):
    assert "the store answered None" in unmet(encryption, {"ETag": "x"})


@pytest.mark.parametrize(
    ("encryption", "answer"),
    [
        (AMAZON_KMS, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": ARN}),
        (IBM_AES, {"ServerSideEncryption": "AES256"}),
        (SSE_C, {"SSECustomerAlgorithm": "AES256"}),
        (IBM_KMS, {}),
        (Encryption(), {}),
    ],
)
def test_a_confirmed_answer_is_accepted(encryption, answer):
    assert unmet(encryption, answer) == ""


def test_another_key_than_the_one_asked_for_is_told():
    answer = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": ARN.replace("1234", "9999")}
    assert "9999" in unmet(AMAZON_KMS, answer)
    assert "AES256" in unmet(AMAZON_KMS, {"ServerSideEncryption": "AES256"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": Mode.AES, "provider": "AWS"},
        {"mode": Mode.KMS, "provider": "IBM"},
        {"mode": Mode.AES, "provider": "IBM", "customer_key": b"short"},
        {"mode": Mode.CLIENT, "customer_key": KEY},
    ],
    ids=str,
)
def test_combinations_the_providers_do_not_have_are_refused(wrong):
    with pytest.raises(ConfigError):
        Encryption(**wrong)


def test_a_customer_key_never_travels_in_the_clear_nor_shows():
    with pytest.raises(ConfigError, match=r"unencrypted to cos\.example"):
        check_transport(SSE_C, "http://cos.example:8080")
    for endpoint in ("", "https://cos.example", "http://127.0.0.1:8333"):
        check_transport(SSE_C, endpoint)
    check_transport(IBM_AES, "http://cos.example")
    assert str(KEY) not in repr(SSE_C)


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(bytes(31)).decode()])
def test_a_customer_key_that_is_none_is_refused_without_repeating_it(text):
    with pytest.raises(ConfigError) as caught:
        parse_customer_key(text)
    assert not text or text not in str(caught.value)
    assert parse_customer_key(base64.b64encode(KEY).decode() + "\n") == KEY
