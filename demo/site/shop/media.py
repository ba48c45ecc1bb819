"""Where uploads go: an S3 bucket, with the headers that a web shop gives its files."""

from pathlib import PurePosixPath

from storages.backends.s3 import S3Storage

ONE_YEAR = 365 * 24 * 3600


class MediaStorage(S3Storage):
    """S3 with cache rules, download names and metadata by kind of file."""

    def get_object_parameters(self, name: str) -> dict[str, object]:
        """Headers and metadata that S3 keeps with the object whose name is `name`, with the location or without."""
        parameters = super().get_object_parameters(name)
        # Saving names the whole key, opening the part after the location.
        path = PurePosixPath(name.removeprefix(f"{self.location}/"))
        if path.parts[0] == "products":
            parameters["CacheControl"] = f"public, max-age={ONE_YEAR}, immutable"
            parameters["Metadata"] = {"kind": "picture", "source": "studio"}
        elif path.parts[0] == "sheets":
            parameters["ContentDisposition"] = f'attachment; filename="{path.stem}.txt"'
            parameters["ContentLanguage"] = "de-CH"
            parameters["Metadata"] = {"kind": "data-sheet"}
        elif path.parts[0] == "exports":
            parameters["CacheControl"] = "no-store"
        return parameters
