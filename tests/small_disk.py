"""A disk that gets full: a file system in memory, as large as a test says."""

import errno
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

MIB = 1 << 20


class SmallDisk:
    """`with SmallDisk(mib, account) as disk:`; its folder belongs to the account. Where nobody may mount anything, the test is
    skipped."""

    def __init__(self, mib: int, account=None) -> None:
        self._mib, self._account = mib, account

    def __enter__(self) -> "SmallDisk":
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-disk-"))
        said = self._mount("-t", "tmpfs", "-o", f"size={self._mib}m,mode=0755", "tmpfs")
        if said.returncode:
            self.folder.rmdir()
            pytest.skip(f"no file system can be mounted here: {said.stderr.strip()}")
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: who has it open may not have ended yet.
        subprocess.run(["umount", "--lazy", self.folder], check=True)
        self.folder.rmdir()

    def leave(self, mib: int) -> None:
        """Makes it so large that so many MiB are free."""
        has = os.statvfs(self.folder)
        used = (has.f_blocks - has.f_bfree) * has.f_frsize
        said = self._mount("-o", f"remount,size={used + mib * MIB}")
        assert said.returncode == 0, said.stderr

    def _mount(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["mount", *options, self.folder], capture_output=True, text=True, check=False)

    def fill(self) -> None:
        """Leaves no byte free."""
        try:
            with self._ballast.open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error

    def empty(self) -> None:
        """Takes away what fills it."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"
