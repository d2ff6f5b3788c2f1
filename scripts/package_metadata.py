"""The README as a package index shows it: a build hook that makes its links absolute.

An index shows the README alone, so links to files of the repository need the repository's public
address. It is taken from the environment variable `VENE_REPOSITORY`, for example
`https://example.org/owner/vene_widgets`, of a host with GitHub's addresses. Without it, pictures
are left out and links to files become plain text: no reader meets a broken link.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = r"\((?!https?://|#|mailto:)([^)\s]+)\)"
PICTURE = re.compile(rf"!\[([^\]]*)\]{RELATIVE}")
LINK = re.compile(rf"(?<!!)\[([^\]]*)\]{RELATIVE}")


class PackageMetadata(MetadataHookInterface):
    """Fills the project's `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README, and the repository's addresses where one is known."""
        repository = os.environ.get("VENE_REPOSITORY", "").rstrip("/")
        version = metadata["version"]
        text = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": readme_for_index(text, repository, f"v{version}"),
        }
        if repository:
            metadata["urls"] = {
                "Source": repository,
                "Changelog": f"{repository}/blob/v{version}/CHANGELOG.md",
            }


def readme_for_index(text: str, repository: str, tag: str) -> str:
    """Return the README with links to `repository` at `tag`, or without links if it is empty."""
    if not repository:
        return LINK.sub(r"\1", PICTURE.sub("", text)).replace("\n\n\n", "\n\n")
    text = PICTURE.sub(rf"![\1]({repository}/raw/{tag}/\2)", text)
    return LINK.sub(rf"[\1]({repository}/blob/{tag}/\2)", text)
