"""Files from a bad network: whole and verified, or refused in words of their own, with the way out."""

import hashlib
import json
import random
import resource
import shutil
import ssl
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from fewshot_diffusion.config.downloads import FetchConfig
from fewshot_diffusion.downloads.addresses import ENDPOINTS
from fewshot_diffusion.downloads.fetch import fetch_artefact
from fewshot_diffusion.errors import FewshotError
from support import ROOT

Server = Any
HUB, DRIVE = "hf://google/some.model@v1/weights.bin", "gdrive://1A_b-C"
SOME = {"size": None, "sha256": None}  # no digest is public


def settings(folder: Path, server: Server, *urls: str, **changes: Any) -> FetchConfig:
    how = {key: changes.pop(key) for key in ("offline", "attempts", "timeout") if key in changes}
    digest = hashlib.sha256(server.content).hexdigest()
    artefact = {"file": "set.zip", "size": len(server.content), "sha256": digest, "licence": "MIT", "access": "From X."}
    artefact |= {"urls": [server.url + url if url.startswith("/") else url for url in urls], **changes}
    how = {"attempts": 2, "backoff": 0, "timeout": 0.3, "have": folder / "have", **how}
    return FetchConfig.model_validate({"name": "thing", "artefact": artefact, **how})


def fetch(folder: Path, config: FetchConfig) -> bytes:
    output = folder / "downloads/thing/set.zip"
    output.unlink(missing_ok=True)  # as Snakemake does
    fetch_artefact(config, folder / "kept", folder / "records", output)
    return output.read_bytes()


def refusal(folder: Path, config: FetchConfig) -> str:
    with pytest.raises(FewshotError) as caught:
        fetch(folder, config)
    assert not (folder / "downloads/thing/set.zip").exists()
    assert not (folder / "records").exists()
    assert str(caught.value).isprintable() or "\x1b" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def endpoints(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.setitem(ENDPOINTS, name, server.url)


# --- what is refused ------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[str, dict[str, Any]]] = {  # what is said -> the address, and what is known of the file
    "access is denied (401): the file is not public": ("/status/401", {}),
    "access is denied (403): the file is not public": ("/status/403", {}),
    "there is no such file (404)": ("/status/404", {}),
    "there is no such file (410)": ("/status/410", {}),
    "no beginning of the file there (416)": ("/status/416", {}),
    "status 418, expected the file": ("/status/418", {}),
    "too many requests for the server (429)\n": ("/status/429", {}),
    "too many requests for the server (429), and asks to wait 9999 s": ("/status/429/9999", {"attempts": 9}),
    "the server is out of order (500)": ("/status/500", {}),
    "the server is out of order (503), and asks to wait 4000 s": ("/status/503/4000", {"attempts": 9}),
    "a web page in place of the file ('Sorry')": ("/page/Sorry", {}),
    "a web page in place of the file ('Zipped')": ("/page/Zipped/application-zip", SOME),
    "login page ('Sign in - Accounts')": ("/page/Sign_in_-_Accounts", {}),
    "quota is used up ('Google Drive - Quota exceeded')": ("/page/Google_Drive_-_Quota_exceeded", SOME),
    "quota is used up ('Google Drive - Quota used')": ("gdrive://used", {}),
    "it redirects in a circle": ("/loop", {}),
    "leads to http://far.invalid/x, which is not encrypted": ("/to?http://far.invalid/x", {}),
    "leads to file:///etc/passwd": ("/to?file:///etc/passwd", {}),
    "leads to ftp://far.invalid/x": ("/to?ftp://far.invalid/x", {}),
    "the connection was reset": ("/reset", {}),
    "nothing came within 0.3 s": ("/silent", {}),
    "the host refuses connections": ("http://127.0.0.1:9/x", {}),
    "no host of this name is known": ("https://far.invalid/x", {}),
    "it broke off before its end (IncompleteRead(300000 bytes": ("/breaks/300000/untagged", SOME),
    "it broke off before its end (IncompleteRead(4096 bytes": ("/chunks", SOME),
    "it broke off after 4096 of 4194304 bytes": ("/short", {}),
    "found a file of 4194311 bytes there, expected 4194304": ("/length", {}),
    "found a file of 4194304 bytes there, expected 9": ("/file", {"size": 9}),
    "more bytes came than the 4194304": ("/endless", {}),
    "the file there is empty": ("/empty", SOME),
    "expected " + "a" * 64: ("/file", {"sha256": "a" * 64}),
    "expected " + "b" * 32: ("/file", {"sha256": None, "md5": "b" * 32}),
    "found a file that begins with": ("/file", SOME),
    "accept the terms on https://huggingface.co/google/some.model": ("hf://google/some.model@gated/x", {}),
    "offline is true": ("/file", {"offline": True}),
}


@pytest.mark.parametrize("said", BAD, ids=lambda said: said[:40].strip())
def test_what_is_no_file_is_refused_in_words_of_its_own(tmp_path: Path, server: Server, said: str) -> None:
    url, known = BAD[said]
    message = refusal(tmp_path, settings(tmp_path, server, url, **known))
    assert said in message
    assert [other for other in BAD if other in message] == [said]
    way_out = message.splitlines()[-1]
    assert f"put it here: {tmp_path}/have/set.zip" in way_out
    assert "run the same command again" in way_out
    assert {path.name for path in tmp_path.iterdir()} <= {"kept"}


def test_a_server_that_cannot_prove_who_it_is(tmp_path: Path, server: Server) -> None:
    openssl = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost"
    subprocess.run([*openssl.split(), "-keyout", "key", "-out", "cert"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:") + "/file"
    assert "cannot prove who it is: TLS failed" in refusal(tmp_path, settings(tmp_path, server, url, timeout=2))


def test_a_full_disk_keeps_what_is_here(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(99))
    config = settings(tmp_path, server, "/file")
    assert "the disk is full: 4194304 bytes are still to come, 99 are free" in refusal(tmp_path, config)
    monkeypatch.undo()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000001, hard))
    try:
        assert "the disk is full (File too large); 3194303 bytes are still to come" in refusal(tmp_path, config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert fetch(tmp_path, config) == server.content
    assert starts(server)[-1] == "bytes=1000001-"


def test_what_is_wrong_is_put_aside_and_the_next_mirror_asked(tmp_path: Path, server: Server) -> None:
    right, wrong = server.content, bytes(len(server.content))
    config = settings(tmp_path, server, "/status/404", "/wrong", "/file")
    server.other = wrong
    assert fetch(tmp_path, config) == right
    assert [path for path, _ in server.asked] == ["/status/404", "/wrong", "/file"]
    assert (tmp_path / "kept/thing/set.zip.wrong").read_bytes() == wrong
    message = refusal(tmp_path / "b", settings(tmp_path / "b", server, "/wrong"))
    assert f"found sha256 {hashlib.sha256(wrong).hexdigest()}, expected {hashlib.sha256(right).hexdigest()}" in message


# --- how it goes on -------------------------------------------------------------------------------------------------


def starts(server: Server) -> list[str]:
    return [headers.get("Range", "bytes=0-") for _, headers in server.asked]


@pytest.mark.parametrize(("known", "tag"), [({}, ""), (SOME, ""), ({}, "/untagged")])
def test_a_broken_transfer_goes_on_where_it_was(tmp_path: Path, server: Server, known: Any, tag: str) -> None:
    server.content = b"PK" + server.content
    assert fetch(tmp_path, settings(tmp_path, server, f"/breaks/1100000{tag}", **known)) == server.content
    assert starts(server) == ["bytes=0-", "bytes=1100000-", "bytes=2200000-", "bytes=3300000-"]
    assert server.sent == len(server.content), "no byte twice"


def test_what_may_have_changed_starts_over(tmp_path: Path, server: Server) -> None:
    server.content = b"PK" + server.content
    before = settings(tmp_path, server, "/breaks/1100000", attempts=1, **SOME)
    refusal(tmp_path, before)
    server.content = b"PK" + server.content[::-1]
    assert fetch(tmp_path, settings(tmp_path, server, "/breaks/9999999", **SOME)) == server.content, "another address"
    shutil.rmtree(tmp_path / "kept"), shutil.rmtree(tmp_path / "records")
    refusal(tmp_path, before)
    server.content = b"PK" + server.content[::-1]
    same = settings(tmp_path, server, "/breaks/1100000", attempts=3, **SOME)
    assert fetch(tmp_path, same) == server.content, "another version"
    untagged = settings(tmp_path / "b", server, "/breaks/4000000/untagged", **SOME)
    refusal(tmp_path / "b", untagged)
    assert "Range" not in server.asked[-1][1], "neither the server nor a digest says that it is the same"


def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path, server: Server) -> None:
    refusal(tmp_path, settings(tmp_path, server, "/breaks/1100000", attempts=1))
    state = tmp_path / "kept/thing/set.zip.part.json"
    state.write_text(state.read_text().replace("breaks/1100000", "file/whole"))
    assert fetch(tmp_path, settings(tmp_path, server, "/file/whole")) == server.content
    assert starts(server)[-1] == "bytes=1100000-"


@pytest.mark.parametrize("url", ["/flaky/503", "/flaky/429", DRIVE, "/to?/file"])
def test_what_a_second_request_brings(tmp_path: Path, server: Server, url: str) -> None:
    assert fetch(tmp_path, settings(tmp_path, server, url, attempts=3)) == server.content


def test_the_hub_alone_is_told_the_token(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert fetch(tmp_path, settings(tmp_path, server, HUB)) == server.content
    (asked, first), (_, second) = server.asked
    assert asked == "/google/some.model/resolve/v1/weights.bin"
    assert first["Authorization"] == "Bearer secret"
    assert "Authorization" not in second, "another host, to which the hub redirects"


# --- what is known of files -----------------------------------------------------------------------------------------


def test_a_digest_is_recorded_when_none_is_public_and_verified_ever_after(tmp_path: Path, server: Server) -> None:
    server.content = b"PK" + server.content
    config = settings(tmp_path, server, "/file", **SOME)
    assert fetch(tmp_path, config) == server.content
    record = json.loads((tmp_path / "records/thing.json").read_text())
    digest = hashlib.sha256(server.content).hexdigest()
    assert record == {"file": "set.zip", "size": 4194306, "sha256": digest, "source": f"{server.url}/file"}
    shutil.rmtree(tmp_path / "kept")
    server.content = b"PK" + bytes(4194304)
    with pytest.raises(FewshotError, match=rf"expected {digest} \(recorded in {tmp_path}/records/thing.json; delete"):
        fetch(tmp_path, config)


def test_what_is_here_is_not_fetched_again_unless_it_is_damaged(tmp_path: Path, server: Server) -> None:
    config = settings(tmp_path, server, "/file")
    assert fetch(tmp_path, config) == fetch(tmp_path, config.model_copy(update={"offline": True})) == server.content
    assert len(server.asked) == 1
    (tmp_path / "kept/thing/set.zip").write_bytes(b"PK")
    assert fetch(tmp_path, config) == server.content
    assert len(server.asked) == 2


def test_a_file_that_is_had_already(tmp_path: Path, server: Server) -> None:
    (tmp_path / "have").mkdir()
    (tmp_path / "have/set.zip").write_bytes(server.content)
    assert fetch(tmp_path, settings(tmp_path, server, "/file", offline=True)) == server.content
    (tmp_path / "have/set.zip").write_bytes(b"PK")
    shutil.rmtree(tmp_path / "kept"), shutil.rmtree(tmp_path / "downloads")
    message = refusal(tmp_path, settings(tmp_path, server, "/file"))
    assert message.startswith(f"{tmp_path}/have/set.zip: found 2 bytes, expected 4194304. Put the right file there")
    assert not server.asked


@pytest.mark.slow
def test_a_download_that_is_killed_ten_times(tmp_path: Path, server: Server) -> None:
    server.content = server.content * 4
    config, output = settings(tmp_path, server, "/slow", timeout=9), tmp_path / "downloads/thing/set.zip"
    words = {"settings": config.model_dump_json(), "checkpoints": tmp_path / "kept", "records": tmp_path / "records"}
    options = [word for key, value in (words | {"output": output}).items() for word in (f"--{key}", str(value))]
    script, choose = str(ROOT / "workflow/scripts/download_file.py"), random.Random(0)
    part, kills = tmp_path / "kept/thing/set.zip.part", 0
    for stop in sorted(choose.randrange(len(server.content) * 9 // 10) for _ in range(10)):
        process = subprocess.Popen([sys.executable, script, *options], stderr=subprocess.DEVNULL)
        while process.poll() is None and (part.stat().st_size if part.exists() else 0) <= stop:
            time.sleep(0.002)
        process.kill()
        kills += process.wait() == -9
    subprocess.run([sys.executable, script, *options], check=True, capture_output=True)
    assert kills == 10
    assert output.read_bytes() == server.content
    begun = [int(start.removeprefix("bytes=").rstrip("-")) for start in starts(server)]
    twice = server.sent / len(server.content) - 1
    print(f"killed {kills} times, went on at {begun}, sent twice: {twice:.1%}")
    assert begun == sorted(begun) and all(begun[1:])
    assert twice <= 0.05
