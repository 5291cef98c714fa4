"""What a stop has left half done: closed at the next start, so that no client waits for ever."""

from __future__ import annotations

from fake_controller.controller import end_job
from fake_controller.errors import draining
from fake_controller.model import Build, Droplet, Job, Package, ServiceErrand
from fake_controller.store import Tx

STAGING = "StagingError - The controller was stopped while the app was staging. Push it again."
COPYING = "The controller was stopped while it was copied."


def close_interrupted(tx: Tx) -> None:
    """End builds and copies as failed; what was being uploaded may be uploaded again.

    Errands to service brokers are taken up again, and so are their jobs.
    """
    for build in tx.find(Build, state="STAGING"):
        tx.change(build, state="FAILED", error=STAGING)
    for kind in (Package, Droplet):
        for record in tx.find(kind, state="PROCESSING_UPLOAD"):
            tx.change(record, state="AWAITING_UPLOAD")
        for record in tx.find(kind, state="COPYING"):
            tx.change(record, state="FAILED", error=COPYING)
    goes_on = {errand.job_guid for errand in tx.find(ServiceErrand)}
    for job in tx.find(Job, state=["PROCESSING", "POLLING"]):
        if job.guid not in goes_on:
            end_job(tx, job.guid, draining())
