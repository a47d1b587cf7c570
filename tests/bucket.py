"""Buckets on this machine: emulators of GCS and of S3, used through the real clients of both."""

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
def emulated_gcs() -> Iterator[str]:
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


@contextmanager
def emulated_s3() -> Iterator[str]:
    """As `emulated_gcs`, but by moto's server."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        try:
            _, port = server.get_host_and_port()
            for name, value in {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "none",
                "AWS_SECRET_ACCESS_KEY": "none",
                "AWS_DEFAULT_REGION": "us-east-1",
                # Without the settings of whoever runs the tests, as without `AWS_PROFILE`.
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            }.items():
                patch.setenv(name, value)
            patch.delenv("AWS_PROFILE", raising=False)
            fsspec.filesystem("s3", use_listings_cache=False).mkdir(f"s3://{NAME}")
            yield f"s3://{NAME}"
        finally:
            server.stop()
