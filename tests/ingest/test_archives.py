from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from mlipdb.ingest import archives
from mlipdb.ingest.archives import unpack


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


GOOD = {
    "run/a.json": b"{}",
    "run/sub/b.json": b"[1]",
    "run/WAVECAR": b"x" * 10,
    "./c.json": b"",
    "run/CHGNet.json": b"1",
}
KEPT = {"run/a.json": b"{}", "run/sub/b.json": b"[1]", "c.json": b"", "run/CHGNet.json": b"1"}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.tar.zst", "a.zip"])
def test_every_kind(tmp_path: Path, name: str) -> None:
    path, out = tmp_path / name, tmp_path / "out"
    out.mkdir()
    if name == "a.zip":
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in GOOD.items():
                archive.writestr(member, data)
    elif name == "a.tar.zst":
        path.write_bytes(zstandard.ZstdCompressor().compress(tar(tmp_path / "x", GOOD).read_bytes()))
    else:
        tar(path, GOOD, "w:" + name.rpartition(".")[2].replace("tgz", "gz").replace("tar", ""))
    done = unpack(path, out)
    assert (done.refused, done.others) == ([], 1)
    assert files(out) == KEPT


@pytest.mark.parametrize(
    "name",
    ["../up", "/root", "a/../../up", "..", "a/..", "C:/x", "\\\\share\\x", "..\\up", "a" * 5000, "x/" * 200 + "y"],
)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_outside(tmp_path: Path, name: str, kind: str) -> None:
    path, out = tmp_path / f"a.{kind}", tmp_path / "box" / "out"
    out.mkdir(parents=True)
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"bad")
            archive.writestr("good.json", b"{}")
    else:
        tar(path, {name: b"bad", "good.json": b"{}"})
    done = unpack(path, out)
    assert [error.reason for _, error in done.refused] in (["unsafe_member"], ["unreadable"])
    assert files(tmp_path / "box") == {"out/good.json": b"{}"}


def test_links_and_special_files_are_left_alone(tmp_path: Path) -> None:
    path, out = tmp_path / "a.tar", tmp_path / "out"
    out.mkdir()
    with tarfile.open(path, "w") as archive:
        for name, kind in (
            ("l", tarfile.SYMTYPE),
            ("h", tarfile.LNKTYPE),
            ("p", tarfile.FIFOTYPE),
            ("d", tarfile.BLKTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc"
            archive.addfile(member)
    done = unpack(path, out)
    assert (done.refused, done.others, list(out.iterdir())) == ([], 4, [])


def test_a_damaged_archive_gives_what_stands_before(tmp_path: Path) -> None:
    path, out = tmp_path / "a.tar", tmp_path / "out"
    out.mkdir()
    tar(path, {"a.json": b"{}", "b.json": b"x" * 5000})
    path.write_bytes(path.read_bytes()[:3000])
    done = unpack(path, out)
    assert [error.reason for _, error in done.refused] == ["truncated"]
    assert files(out)["a.json"] == b"{}"


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path = tar(tmp_path / "a.tar.gz", {f"{number}.json": bytes(3_000_000) for number in range(4)}, "w:gz")
    monkeypatch.setattr(archives, "MAX_BYTES", 8_000_000)
    done = unpack(path, out)
    assert [error.reason for _, error in done.refused] == ["too_large"]
    monkeypatch.setattr(archives, "MAX_BYTES", 10**9)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    assert [error.reason for _, error in unpack(path, out).refused] == ["too_large"]


def test_zeros_take_no_room(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    path = tar(tmp_path / "a.tar.gz", {"a.dat": b"1" + bytes(64 * 1024**2)}, "w:gz")
    assert unpack(path, out).refused == []
    status = (out / "a.dat").stat()
    assert status.st_size == 64 * 1024**2 + 1
    assert status.st_blocks * 512 < 8 * 1024**2


def test_a_zip_with_a_password(tmp_path: Path) -> None:
    path, out = tmp_path / "a.zip", tmp_path / "out"
    out.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", b"{}")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of encryption, in the member's head and in the list at the end
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))
    ((name, error),) = unpack(path, out).refused
    assert name == "a.json"
    assert "password" in error.message


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_long_header_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes) -> None:
    path, out = tmp_path / "a.tar.gz", tmp_path / "out"
    out.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("before.json"))
        member = tarfile.TarInfo("long")
        member.type, member.size = kind, 100_000
        archive.addfile(member, io.BytesIO(b"a" * 100_000))
        archive.addfile(tarfile.TarInfo("after.json"))
    monkeypatch.setattr(archives, "MAX_HEADER", 20_000)
    ((_, error),) = unpack(path, out).refused
    assert error.reason == "too_large"
    assert "header of more than 20000 bytes" in error.message
    assert sorted(files(out)) == ["before.json"]


def test_long_headers_of_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "a.tar.gz", tmp_path / "out"
    out.mkdir()
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for number in range(4):
            member = tarfile.TarInfo(f"{number}.json")
            member.pax_headers = {"comment": "x" * 50_000}
            archive.addfile(member)
    assert unpack(path, out).refused == []
    monkeypatch.setattr(archives, "MAX_HEADERS", 100_000)
    assert [error.reason for _, error in unpack(path, out).refused] == ["too_large"]
