"""What a run tells the outside world about itself: written to a journal on disk first, shipped from there."""

from geohydra.tracking.journal import Journal
from geohydra.tracking.null import NullJournal, NullShipping, NullTracking
from geohydra.tracking.protocols import Kind, Record, Shipped, Shipping, Status, Tracking

__all__ = ["Journal", "Kind", "NullJournal", "NullShipping", "NullTracking", "Record", "Shipped", "Shipping", "Status", "Tracking"]
