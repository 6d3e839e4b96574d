"""What methods are asked, and the rows of numbers that come of it."""

from avnb.evaluation.given_maps import judge_maps
from avnb.evaluation.localization import evaluate, judge
from avnb.evaluation.outside import Outside
from avnb.evaluation.retrieval import judge_retrieval
from avnb.evaluation.rows import pick
from avnb.evaluation.separation import judge_listening, judge_separation, take_apart
from avnb.evaluation.trials import (
    Trial,
    duet_trial,
    published_rows,
    published_rule,
    several_trial,
    single_trial,
    synthetic_trial,
    trials_of,
    under_every_protocol,
)
from avnb.evaluation.truths import truth_in_annotations

__all__ = [
    "Outside",
    "Trial",
    "duet_trial",
    "evaluate",
    "judge",
    "judge_listening",
    "judge_maps",
    "judge_retrieval",
    "judge_separation",
    "pick",
    "published_rows",
    "published_rule",
    "several_trial",
    "single_trial",
    "synthetic_trial",
    "take_apart",
    "trials_of",
    "truth_in_annotations",
    "under_every_protocol",
]
