"""What is measured: names, units, and which way is better."""

from dataclasses import dataclass


def plural(unit):
    return {"delivery": "deliveries", "MB": "MB"}.get(unit, f"{unit}s")


@dataclass(frozen=True)
class Measure:
    key: str
    label: str           # {unit} is the scenario's unit (message, transfer), {units} its plural
    form: str
    less: bool = True    # less is better
    better: str = ""     # the forms of the verdict: "A ... x % less ... than B"
    worse: str = ""

    def text(self, value):
        return "–" if value is None else self.form.format(value)

    def head(self, unit):
        return self.label.format(unit=unit, units=plural(unit))


_ALL = (
    Measure("cpu_us", "server CPU, µs a {unit}", "{:.3f}", True, "takes {by} less CPU a {unit}", "takes {by} more CPU a {unit}"),
    Measure("per_second", "{units} a second", "{:.0f}", False, "handles {by} more {units} a second",
            "handles {by} fewer {units} a second"),
    Measure("p50_us", "p50, µs", "{:.1f}", True, "has a p50 {by} lower", "has a p50 {by} higher"),
    Measure("p99_us", "p99, µs", "{:.1f}", True, "has a p99 {by} lower", "has a p99 {by} higher"),
    Measure("p999_us", "p99.9, µs", "{:.1f}", True, "has a p99.9 {by} lower", "has a p99.9 {by} higher"),
    Measure("mean_us", "mean, µs", "{:.1f}", True, "has a mean latency {by} lower", "has a mean latency {by} higher"),
    Measure("bytes", "bytes a connection", "{:.0f}", True, "takes {by} less memory a connection",
            "takes {by} more memory a connection"),
    Measure("kernel_bytes", "kernel's bytes a connection", "{:.0f}", True),
    Measure("start_ns", "start a timer, ns CPU", "{:.1f}", True, "takes {by} less CPU to start a timer",
            "takes {by} more CPU to start a timer"),
    Measure("cancel_ns", "cancel a timer, ns CPU", "{:.1f}", True, "takes {by} less CPU to cancel a timer",
            "takes {by} more CPU to cancel a timer"),
    Measure("expire_ns", "expire, ns CPU", "{:.1f}", True, "takes {by} less CPU to expire a timer",
            "takes {by} more CPU to expire a timer"),
    Measure("timer_bytes", "bytes a timer", "{:.1f}", True),
    Measure("timer_ns", "start and cancel, ns CPU", "{:.1f}", True, "takes {by} less CPU to start and cancel a timer",
            "takes {by} more CPU to start and cancel a timer"),
    Measure("task_ns", "CPU of both threads, ns a task", "{:.1f}", True, "takes {by} less CPU a task", "takes {by} more CPU a task"),
    Measure("turn_us", "a round, µs", "{:.2f}", True, "takes {by} less time a round", "takes {by} more time a round"),
    Measure("megabytes", "file, MB/s", "{:.0f}", False, "sends {by} more of the file a second",
            "sends {by} less of the file a second"),
)
MEASURES = {measure.key: measure for measure in _ALL}
