"""What setup.cfg can't say: an sdist that is the same, byte for byte, each time it is built.

setuptools stamps the archive and the files that it makes with the time of the build. With
SOURCE_DATE_EPOCH (reproducible-builds.org) all of them have that time; a wheel has it without us.
"""

import gzip
import os
import tarfile
from pathlib import Path

from setuptools import setup
from setuptools.command.sdist import sdist


class ReproducibleSdist(sdist):
    """Writes `.tar.gz` itself: files in order, of nobody, at one time."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, **_):
        if "SOURCE_DATE_EPOCH" not in os.environ or format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir)
        time = int(os.environ["SOURCE_DATE_EPOCH"])

        def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = time
            entry.mode = 0o755 if entry.mode & 0o100 or entry.isdir() else 0o644
            return entry

        path = Path(f"{base_name}.tar.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            path.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=time) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for each in sorted(Path(str(base_dir)).rglob("*")):
                archive.add(each, recursive=False, filter=plain)
        return str(path)


setup(cmdclass={"sdist": ReproducibleSdist})
