"""*Learning*: better than naive, sure of itself to the right degree, and what the gradients and inputs do."""

from __future__ import annotations

from deploy.grafana.generate.frame import LEARNING, Line, assemble, line, section
from deploy.grafana.generate.panels import SKILL, Panel, Steps, bars, graph, number, words
from deploy.grafana.generate.promql import (
    EACH,
    SEVERAL,
    TP,
    Query,
    events,
    increase,
    mean,
    of,
    quantile,
    rate,
    ratio,
    signed_mean,
    skill,
    skill_between,
    total,
    worst,
)
from deploy.grafana.generate.sequences import sequences
from deploy.grafana.generate.symbols import symbols

NAIVE: Steps = ((None, "transparent"), (0, "red"))
FIRST = """
**From the top:** is it better than naive, are its intervals honest, does it still learn, from how far back, from what?

- **Skill falls, error of rivals rises too**: the data got harder. Wait, and look at *drift of inputs*.
- **Skill falls, rivals stay**: what was learned no longer holds. *Drift alarms* say since when; a higher learning rate
  follows faster.
- **Coverage off its level**: predicted intervals are too narrow (below) or too wide (above).
- **Reach of gradients** far below `k2`: a shorter window learns the same for less work; one that ends at `k2`: a longer
  one may learn more. Cells without a window (`glru`, `elstm`, `bank`) have no reach to show.
- **Clamped or missing inputs**: ask the producer first, the model second.
"""


def build() -> str:
    """The dashboard as JSON."""
    return assemble(
        LEARNING,
        "What the learner of a job of streamrnn learns, from what, and how well.",
        section("Better than naive?", _skill_now(), _skill_over_time(), _errors()),
        section("Intervals", _intervals()),
        section("Training", _steps(), _weights()),
        section("How far back it learns", _reach()),
        section("What it predicts from", _inputs(), _mixture()),
        section("Labels and drift", _labels()),
        symbols(),
        sequences(),
    )


def _skill_now() -> Line:
    between = (
        "1 - error / error of the best naive rival, over the time chosen above, from all predictions whose target "
        f"became known in it. {SEVERAL}"
    )
    return line(
        10,
        (5, (_newest(), _over_range(between))),
        (
            11,
            bars(
                "Skill of each partition over the time chosen",
                f"{between} A bar that is empty is at or below 0.",
                "percentunit",
                Query(skill_between(increase, TP), EACH, instant=True),
                steps=SKILL,
                high=1,
            ),
        ),
        (8, words("What to do first", "How to read this dashboard, and what to do about what it shows.", FIRST)),
    )


def _newest() -> Panel:
    return number(
        "Skill of the worst partition",
        "1 - error / error of the best naive rival, on the newest predictions whose target became known.",
        "percentunit",
        Query(f"min({of('streamrnn_skill')})", "skill"),
        steps=SKILL,
        nothing="no label yet",
        decimals=1,
    )


def _over_range(text: str) -> Panel:
    return number(
        "Skill over the time chosen",
        text,
        "percentunit",
        Query(skill_between(increase), "skill", instant=True),
        steps=SKILL,
        nothing="no label yet",
        decimals=1,
        sparkline=False,
    )


def _skill_over_time() -> Line:
    by_rival = f"min by (rival) ({of('streamrnn_skill')})"
    return line(
        8,
        (
            12,
            graph(
                "Skill by partition",
                "Against the best rival, on the newest predictions, forgotten gradually. The dashed line is the rival.",
                "percentunit",
                Query(skill(), EACH),
                steps=NAIVE,
                low=None,
            ),
        ),
        (
            12,
            graph(
                "Skill by rival, worst partition",
                "last: the newest value or class of the stream; mean: its running mean; most_frequent: the class it "
                "had most often. The lowest line is the rival to beat.",
                "percentunit",
                Query(by_rival, "{{rival}}"),
                steps=NAIVE,
                low=None,
            ),
        ),
    )


def _errors() -> Line:
    rival = mean("streamrnn_rival_error", "rival")
    return line(
        8,
        (
            8,
            graph(
                "Mean absolute error",
                "Of the predictions whose target became known, in the target's own unit; for classes the share that "
                "was wrong. Dashed: what the rivals' predictions of the same targets would have missed by.",
                "short",
                Query(mean("streamrnn_absolute_error", ""), "streamrnn"),
                Query(rival, "rival: {{rival}}"),
                dashed="rival: .*",
            ),
        ),
        (
            8,
            graph(
                "Skill between scrapes",
                "1 - error / error of the best rival of the predictions between two points of the graph: noisier than "
                f"the skill above, but without memory. {SEVERAL}",
                "percentunit",
                Query(skill_between(rate, TP), EACH),
                steps=NAIVE,
                low=None,
            ),
        ),
        (
            8,
            graph(
                "Mean loss",
                "Loss of predictions when their target became known, in scaled units; likelihoods may be below 0.",
                "short",
                Query(signed_mean("streamrnn_prediction_loss"), EACH),
                low=None,
            ),
        ),
    )


def _intervals() -> Line:
    hits, targets = of("streamrnn_interval_hits_total"), of("streamrnn_interval_targets_total")
    level = f"avg({of('streamrnn_interval_level')})"
    off = f"{total(increase(hits))} / {total(increase(targets))} - {level}"
    steps: Steps = ((None, "red"), (-0.1, "yellow"), (-0.05, "green"), (0.05, "yellow"), (0.1, "red"))
    return line(
        8,
        (
            5,
            number(
                "Coverage less its level",
                "Share of targets within the outermost interval, less the share that should be, over the time chosen. "
                "Below 0: too sure of itself.",
                "percentunit",
                Query(off, "difference", instant=True),
                steps=steps,
                nothing="no interval",
                decimals=1,
                sparkline=False,
            ),
        ),
        (
            10,
            graph(
                "Coverage",
                "Share of targets within the outermost interval. Dashed: the share that was asked for.",
                "percentunit",
                Query(ratio(hits, targets), EACH),
                Query(level, "level"),
                dashed="level",
                high=1,
            ),
        ),
        (
            9,
            graph(
                "Mean width",
                "Width of the outermost interval, in the target's own unit: the narrower at the same coverage, the "
                "better.",
                "short",
                Query(mean("streamrnn_interval_width"), EACH),
                nothing="no interval",
            ),
        ),
    )


def _steps() -> Line:
    updates = of("streamrnn_updates_total")
    dropped = total(rate(of("streamrnn_windows_dropped_total")), "cause")
    return line(
        8,
        (
            8,
            graph(
                "Steps and windows",
                "Optimiser steps taken, and windows back-propagated through, or events learned from by exact "
                "gradients, per second.",
                "ops",
                Query(total(rate(updates)), "steps"),
                Query(total(rate(of("streamrnn_windows_total"))), "windows"),
                Query(total(rate(of("streamrnn_sequences_ended_total"))), "sequences ended"),
            ),
        ),
        (
            8,
            graph(
                "Clipped, shortened and dropped",
                "Share of steps whose gradient was clipped to clip_norm, of steps shortened because they promised more "
                "than their loss, and of windows (or events) dropped because their loss or gradient was not finite. "
                "The last one should be 0.",
                "percentunit",
                Query(ratio(of("streamrnn_gradient_clips_total"), updates, ""), "clipped"),
                Query(ratio(of("streamrnn_steps_shortened_total"), updates, ""), "shortened"),
                Query(
                    f"{dropped} / on () group_left {total(rate(of('streamrnn_windows_total')))}", "dropped: {{cause}}"
                ),
            ),
        ),
        (
            8,
            graph(
                "Norm of gradients",
                "Before clipping: quantiles of all steps, and dashed the newest one of each partition.",
                "short",
                *_norms(),
                logarithmic=True,
                dashed=".*/.*",
            ),
        ),
    )


def _norms() -> tuple[Query, ...]:
    buckets = of("streamrnn_gradient_norm_bucket")
    newest = Query(worst(of("streamrnn_gradient_norm_last")), EACH)
    return (Query(quantile(0.5, buckets), "50%"), Query(quantile(0.99, buckets), "99%"), newest)


def _weights() -> Line:
    return line(
        8,
        (
            12,
            graph(
                "Norm of weights",
                "Euclidean norm of the network's weights, which cell bank never changes. One that rises without end is "
                "about to diverge; a jump is a model begun anew or a warm start.",
                "short",
                Query(worst(of("streamrnn_weight_norm")), EACH),
            ),
        ),
        (
            12,
            graph(
                "Update over weight",
                "Norm of the newest step over the norm of the weights. About 0.001 is usual; far above, the learning "
                "rate is too high, far below, little is learned.",
                "sci",
                Query(worst(of("streamrnn_update_to_weight_ratio")), EACH),
                logarithmic=True,
            ),
        ),
    )


def _reach() -> Line:
    norms = of("streamrnn_state_gradient_norm")
    newest = of("streamrnn_state_gradient_norm", 'steps="0"')
    relative = f"{norms} / ignoring (steps) group_left () {newest}"
    return line(
        9,
        (
            8,
            bars(
                "Gradient by steps back",
                "Norm of the loss's gradient with respect to the state so many steps back, over that at the newest "
                "step; mean of partitions. Where bars end, learning ends: a vanishing gradient. "
                "None where gradients are exact or no cell is trained.",
                "percentunit",
                Query(_in_order(relative), "{{steps}}"),
                steps=((None, "red"), (0.01, "yellow"), (0.1, "green")),
                high=1,
            ),
        ),
        (
            8,
            graph(
                "Gradient by steps back over time",
                "The same norms, not divided, of the partition where they are largest; of cells learned by windows.",
                "sci",
                Query(_in_order(norms, "max"), "{{steps}}"),
                logarithmic=True,
            ),
        ),
        (
            8,
            graph(
                "Reach",
                "How many steps back the gradient is still above 1 % of what it is at the newest step. It ends at k2; "
                "where gradients are exact there is no such end, and no line.",
                "short",
                Query(worst(of("streamrnn_gradient_reach_steps")), EACH),
            ),
        ),
    )


def _in_order(expr: str, how: str = "avg") -> str:
    """By steps, in their order: Prometheus sorts labels as text, so a label in front has their number with zeros."""
    padded = f'label_replace({expr}, "order", "0000$1", "steps", "(.+)")'
    return f'{how} by (order, steps) (label_replace({padded}, "order", "$1", "order", ".*(.{{5}})"))'


def _inputs() -> Line:
    clamped, missing = of("streamrnn_field_clamped_total"), of("streamrnn_field_missing_total")
    present = total(rate(of("streamrnn_field_present_total")), "field")
    absent = total(rate(missing), "field")
    return line(
        9,
        (
            8,
            graph(
                "Missing fields",
                "Share of records in which a field of the job was missing, null, or no number where one is expected: "
                "the ten worst.",
                "percentunit",
                Query(f"topk(10, {absent} / ({absent} + {present}))", "{{field}}"),
            ),
        ),
        (
            8,
            graph(
                "Clamped fields",
                "Share of a field's values that were out of bounds and count only as far as the bound: the ten worst.",
                "percentunit",
                Query(f"topk(10, {total(rate(clamped), 'field')} / {present})", "{{field}}"),
            ),
        ),
        (
            8,
            graph(
                "Drift of inputs",
                "Fast mean of an input column less its slow mean, in standard deviations: the ten furthest off.",
                "short",
                Query(f"topk(10, max by (column) (abs({of('streamrnn_input_drift')})))", "{{column}}"),
                steps=((None, "transparent"), (1, "orange")),
            ),
        ),
    )


def _mixture() -> Line:
    return line(
        8,
        (
            12,
            graph(
                "Experts of the rls readout",
                "Share of each expert in what is predicted, mean of partitions. A network that has no share adds "
                "nothing to the simpler ones. Other readouts have no experts.",
                "percentunit",
                Query(f"avg by (expert) ({of('streamrnn_mixture_share')})", "{{expert}}"),
                nothing="the readout is not rls",
                stacked=True,
                high=1,
            ),
        ),
        (
            12,
            graph(
                "Imputed inputs and outlying targets",
                "Missing or non-finite inputs that counted as something else, and targets out of bounds that count "
                "only as far as the bound, per second.",
                "cps",
                Query(total(rate(of("streamrnn_imputed_inputs_total"))), "imputed inputs"),
                Query(total(rate(of("streamrnn_outlying_targets_total"))), "outlying targets"),
            ),
        ),
    )


def _labels() -> Line:
    alarms = total(events(of("streamrnn_drift_alarms_total")), TP)
    return line(
        8,
        (
            8,
            graph(
                "Delay of labels",
                "Mean event time between an event and its label.",
                "s",
                Query(mean("streamrnn_label_delay_seconds"), EACH),
                sparse=True,
            ),
        ),
        (
            8,
            graph(
                "Labels that are not learned from",
                "Per second. late: their step had left the window or its sequence had ended, or, passed, learning had "
                "passed it by; unmatched: they named no event that is remembered; lost: the event was forgotten before "
                "its label came. Beside them the labels that came.",
                "recps",
                Query(total(rate(of("streamrnn_label_records_total"))), "came"),
                Query(total(rate(of("streamrnn_late_labels_total"))), "late"),
                Query(total(rate(of("streamrnn_passed_labels_total"))), "passed"),
                Query(total(rate(of("streamrnn_unmatched_labels_total"))), "unmatched"),
                Query(total(rate(of("streamrnn_lost_labels_total"))), "lost"),
            ),
        ),
        (
            8,
            graph(
                "Drift alarms",
                "Changes of the error that ADWIN found since the point before; each is marked in all graphs.",
                "short",
                Query(alarms, EACH),
            ),
        ),
    )
