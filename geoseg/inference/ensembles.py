"""The networks of an ensemble at work: what each sees of a scene, and how tasks know it."""

from geoseg.inference.plan import Plan
from geoseg.inference.predict import Network
from geoseg.models.backends.spec import SegmenterSpec
from geoseg.models.ensemble import Member
from geoseg.scenes.scene import Scene


def seen_by(member: Member, scene: Scene) -> Scene:
    """Return what a network sees of a scene with the bands of its ensemble."""
    return scene if _as_they_are(member.bands, len(scene.bands)) else scene.pick(member.bands)


def members_at_work(plan: Plan) -> tuple[Network, ...]:
    """Return the networks of a plan for its tasks; none of a plan with one network."""
    if not plan.others:
        return ()
    bands = len(plan.bundle.card.bands)
    pairs = zip(plan.networks, plan.segmenters, strict=True)
    return tuple(at_work(n.member, spec, n.batch, bands) for n, spec in pairs)


def at_work(member: Member, segmenter: SegmenterSpec, batch: int, bands: int) -> Network:
    """Return a network of an ensemble of so many bands for its tasks."""
    channels = None if _as_they_are(member.channels, len(member.channels)) else member.channels
    return Network(segmenter, batch, None if _as_they_are(member.bands, bands) else member.bands, channels)


def _as_they_are(places: tuple[int, ...], count: int) -> bool:
    return places == tuple(range(count))
