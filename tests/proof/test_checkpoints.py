"""Checkpoints: notes that other tools read, and every text that is none."""

import base64

import pytest

from doppia.proof.checkpoints import (
    Checkpoint,
    CheckpointError,
    SigningKey,
    VerifierKey,
    open_note,
    parse_signing_key,
    parse_verifier_key,
    sign,
)

# The keys and the note of the documentation of Go's package golang.org/x/mod/sumdb/note.
GO_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)

NEW = SigningKey("doppia", bytes(range(32)))
OLD = SigningKey("doppia", bytes(range(1, 33)))
CHECKPOINT = Checkpoint("doppia/65a1b2c3-0000-8000-8400-000000000400", 1024, bytes(range(32)))


def test_keys_are_those_of_other_tools_that_sign_notes() -> None:
    assert str(parse_signing_key(GO_SECRET).verifier) == GO_KEY
    assert parse_signing_key(f"{GO_SECRET}\n").secret_text() == GO_SECRET
    assert str(parse_verifier_key(f" {GO_KEY}\n")) == GO_KEY


def test_a_signature_is_that_of_other_tools() -> None:
    class Text(Checkpoint):
        def text(self) -> str:
            return GO_TEXT

    note = sign(Text("", 0, b""), [parse_signing_key(GO_SECRET)])

    assert note == f"{GO_TEXT}\n{GO_SIGNATURE}\n"


def test_a_note_reads_as_the_standard_says() -> None:
    lines = sign(CHECKPOINT, [NEW]).split("\n")

    assert lines[:4] == [CHECKPOINT.origin, "1024", base64.b64encode(CHECKPOINT.root).decode(), ""]
    assert lines[4].startswith("— doppia ")
    assert lines[5:] == [""]


@pytest.mark.parametrize("trusted", [[NEW], [OLD], [NEW, OLD], [SigningKey("other", bytes(32)), OLD]])
def test_whoever_trusts_one_of_the_keys_that_signed_can_open_it(trusted: list[SigningKey]) -> None:
    note = sign(CHECKPOINT, [NEW, OLD])

    assert open_note(note, [key.verifier for key in trusted]) == CHECKPOINT


def test_lines_that_extend_a_checkpoint_are_signed_with_it() -> None:
    class Extended(Checkpoint):
        def text(self) -> str:
            return super().text() + "extended\n"

    assert open_note(sign(Extended(*CHECKPOINT), [NEW]), [NEW.verifier]) == CHECKPOINT


@pytest.mark.parametrize("trusted", [[], [OLD.verifier], [VerifierKey("other", NEW.verifier.public_bytes)]])
def test_a_note_that_nobody_trusted_signed_is_refused(trusted: list[VerifierKey]) -> None:
    with pytest.raises(CheckpointError, match="None of the keys that are trusted"):
        open_note(sign(CHECKPOINT, [NEW]), trusted)


@pytest.mark.parametrize(
    ("before", "after"),
    [("1024", "1025"), ("doppia/65", "doppia/66"), ("AAECAwQF", "BBECAwQF")],
    ids=["size", "origin", "root"],
)
def test_a_note_that_was_changed_is_refused(before: str, after: str) -> None:
    note = sign(CHECKPOINT, [NEW])
    assert before in note

    with pytest.raises(CheckpointError, match="The signature of doppia is not of this checkpoint"):
        open_note(note.replace(before, after), [NEW.verifier])


ROOT_LINE = "A" * 43 + "="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "origin\n7",
        "origin\nseven\nAAAA",
        f"origin\n07\n{ROOT_LINE}",
        "origin\n7\nAAAA",
        f"\n7\n{ROOT_LINE}",
        f"origin\n-1\n{ROOT_LINE}",
        "origin\n7\nnot base64 é",
        f"origin\n\N{ARABIC-INDIC DIGIT SEVEN}\n{ROOT_LINE}",
    ],
    ids=range(10),
)
def test_what_is_no_checkpoint_is_refused_whoever_signed_it(text: str) -> None:
    class Other(Checkpoint):
        def text(self) -> str:
            return f"{text}\n"

    with pytest.raises(CheckpointError, match="This is no checkpoint"):
        open_note(sign(Other("", 0, b""), [NEW]), [NEW.verifier])


def test_a_text_without_signatures_is_no_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="This is no checkpoint"):
        open_note(CHECKPOINT.text(), [NEW.verifier])


KEY = str(NEW.verifier)


@pytest.mark.parametrize(
    "text",
    ["", "doppia", KEY[:-4], KEY.replace("doppia", "dop pia"), KEY[1:], KEY.replace("+A", "+B"), f"+{KEY}", "é+é+é"],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="This is no verifier key"):
        parse_verifier_key(text)


SECRET = NEW.secret_text()


@pytest.mark.parametrize(
    "text", ["", KEY, SECRET[:-4], SECRET[1:], SECRET.replace("+doppia+", "+dopia+"), f"{SECRET}AAAA"]
)
def test_what_is_no_signing_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(CheckpointError, match="This is no signing key") as refused:
        parse_signing_key(text)
    assert base64.b64encode(NEW.seed).decode()[:8] not in str(refused.value)
