"""A bucket on this machine: `gcp-storage-emulator`, used through the real clients of GCS."""

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gcp_storage_emulator.handlers import objects
from gcp_storage_emulator.server import create_server

NAME = "bucket"


@contextmanager
def emulated() -> Iterator[str]:
    """Serves an empty bucket from this process, for it and its children; yields its address."""
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    logging.getLogger("api").setLevel(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "download", _with_generation(objects.download))
        server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=NAME)
        server.start()
        try:
            http: Any = server._api._httpd
            http.handle_error = lambda *_: None  # clients hang up when they have what they want
            address = f"http://127.0.0.1:{http.server_port}"
            for name, value in {
                "STORAGE_EMULATOR_HOST": address,
                "TENSORSTORE_GCS_HTTP_URL": address,
                # Without credentials, and without a look for those of a machine in Google's cloud.
                "FSSPEC_GCS_TOKEN": "anon",
                "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
                # gcsfs asks over gRPC, which the emulator doesn't speak, what kind a bucket is.
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            }.items():
                patch.setenv(name, value)
            from fsspec.config import conf, set_conf_env

            set_conf_env(conf, os.environ)
            yield f"gs://{NAME}"
        finally:
            server.stop()


def _with_generation(download):
    """GCS says which generation of an object it sends, as TensorStore wants it to."""

    @functools.wraps(download)
    def handler(request, response, storage, *args, **kwargs):
        download(request, response, storage, *args, **kwargs)
        if response.status < 300:
            names = request.params["bucket_name"], request.params["object_id"]
            response["x-goog-generation"] = storage.get_file_obj(*names)["generation"]

    return handler
