"""What the installation owns is private, made once, and refused where others could read it."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from kalshiweb import data_dir, env


def test_the_secret_key_is_made_once_and_private(tmp_path: Path) -> None:
    made = data_dir.secret_key(tmp_path)

    assert len(made) >= 50
    assert data_dir.secret_key(tmp_path) == made
    assert (tmp_path / "secret.key").stat().st_mode & 0o077 == 0


def test_a_secret_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    data_dir.secret_key(tmp_path)
    (tmp_path / "secret.key").chmod(0o644)

    with pytest.raises(env.BadSetting, match="chmod 600"):
        data_dir.secret_key(tmp_path)


def test_sockets_stand_in_a_short_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 90)))

    folder = data_dir.runtime_dir(tmp_path)

    assert len(str(folder / "valkey.sock")) < 107
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()


def test_two_installations_have_two_socket_folders(tmp_path: Path) -> None:
    one, two = data_dir.runtime_dir(tmp_path / "a"), data_dir.runtime_dir(tmp_path / "b")

    assert one != two
    one.rmdir()
    two.rmdir()


def test_a_socket_folder_that_somebody_else_prepared_is_refused(tmp_path: Path) -> None:
    folder = data_dir.runtime_dir(tmp_path)
    folder.chmod(0o777)

    with pytest.raises(env.BadSetting, match="0700"):
        data_dir.runtime_dir(tmp_path)
    folder.rmdir()


def test_a_start_in_the_midst_of_another_gets_the_same_secret_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[str] = []
    real = secrets.token_urlsafe

    def slow(size: int) -> str:
        if not others:
            others.append("")  # the other start comes past here itself
            others[0] = data_dir.secret_key(tmp_path)
        return real(size)

    monkeypatch.setattr(secrets, "token_urlsafe", slow)

    made = data_dir.secret_key(tmp_path)

    assert len(made) >= 50
    assert others == [made]
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_an_empty_secret_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.key").touch(mode=0o600)

    with pytest.raises(env.BadSetting, match=r"secret\.key is empty"):
        data_dir.secret_key(tmp_path)


def test_a_runtime_directory_that_is_gone_is_replaced_by_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))

    folder = data_dir.runtime_dir(tmp_path)

    assert folder.is_dir()
    assert folder.parent != tmp_path / "gone"
    folder.rmdir()
