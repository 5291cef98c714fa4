"""Zip and tar archives: unpacked strictly, packed the same way every time.

`tarfile` and `zipfile` let hostile archives write outside, fill the disk or mean two
things at once; these functions refuse what is not plainly harmless and say why.
"""

from appliance.kernel.process.archive_pack import pack_tar_gz
from appliance.kernel.process.archive_rules import DROPLET_LIMITS, ArchiveLimits, ArchiveRefused
from appliance.kernel.process.archive_tar import unpack_tar
from appliance.kernel.process.archive_zip import unpack_zip
from appliance.kernel.process.unpacked import Packed, Unpacked

__all__ = [
    "DROPLET_LIMITS",
    "ArchiveLimits",
    "ArchiveRefused",
    "Packed",
    "Unpacked",
    "pack_tar_gz",
    "unpack_tar",
    "unpack_zip",
]
