"""The contestants: what each starts for each role in a scenario."""

from dataclasses import dataclass, field

BUSY_POLL_US = "200"
FILE_ROLES = {"read": ("file", "cold-file"), "splice": ("file", "cold-file"), "mmap": ("file",)}


@dataclass(frozen=True)
class Contestant:
    name: str
    label: str
    kind: str                 # ours, raw, peer (a library), server (a complete server program)
    programs: dict            # for each role: (program, options)
    environment: dict = field(default_factory=dict)
    engine: str = None        # the engine of jinduo that it needs
    package: str = None       # what to install to have it
    form: str = None          # peers: "best" or "documented"
    of: str = None            # the library whose form it is


def _ours(name, label, engine, *more):
    loop = ("--threads", "0", "--engine", engine, *more)
    counted = (*loop, "--statistics")
    return Contestant(name, label, "ours", {
        "echo": ("jd-echo", counted), "discard": ("jd-echo", (*counted, "--discard")), "frames": ("jd-frame-echo", counted),
        "broadcast": ("peers/broadcast-jinduo", counted), **{role: ("peers/file-jinduo", (*counted, "--file")) for role in ("file", "cold-file")},
        "mixed": ("peers/mixed-jinduo", counted), "idle": ("jd-echo", loop),
        "idle-timeouts": ("peers/idle-jinduo", loop),
        **({} if more else {what: (f"peers/{what}-jinduo", ()) for what in ("timers", "tasks", "wakeup", "pipes")}),
        "http": ("jd-http", counted), "redis": ("jd-redis", counted),
    }, environment={"JINDUO_ENGINE": engine}, engine=engine)


def _raw(name, label, program, *options, **more):
    roles = {"echo": options, "discard": (*options, "--discard"), "frames": options, "idle": options}
    return Contestant(name, label, "raw", {**{role: (program, words) for role, words in roles.items()}, **more})


def _peer(library, label, package):
    def of(what, *words):
        return (f"peers/{what}-{library}", words)

    best = {"echo": of("echo"), "discard": of("echo", "discard"), "frames": of("echo", "frames"), "idle": of("echo"),
            **{what: of(what) for what in ("timers", "tasks", "wakeup", "pipes", "broadcast")}}
    documented = {"echo": of("echo", "documented"), "frames": of("echo", "documented-frames")}
    return (Contestant(library, label, "peer", best, package=package, form="best", of=library),
            Contestant(f"{library}-documented", f"{label}, as documented", "peer", documented, package=package,
                       form="documented", of=library))


_ALL = (
    _ours("reactor", "Reactor", "reactor"),
    _ours("io_uring", "io_uring", "io_uring"),
    _ours("simulated", "simulated Proactor", "simulated"),
    _ours("reactor-busy", "Reactor, busy polling", "reactor", "--busy-poll", BUSY_POLL_US),
    _ours("io_uring-busy", "io_uring, busy polling", "io_uring", "--busy-poll", BUSY_POLL_US),
    _ours("io_uring-zero-copy", "io_uring, zero-copy sends", "io_uring", "--zero-copy", "16384"),
    # The library's length codec, written once more with jd_codec_create.
    Contestant("reactor-own-codec", "Reactor, a codec of the program's own", "ours",
               {"frames": ("jd-frame-echo", ("--threads", "0", "--engine", "reactor", "--statistics", "--own-codec"))},
               engine="reactor"),
    _raw("raw-epoll", "raw epoll", "raw-epoll", broadcast=("peers/broadcast-raw", ()),
         **{role: ("peers/file-raw", ("sendfile",)) for role in ("file", "cold-file")},
         mixed=("peers/mixed-raw", ()), pipes=("peers/pipes-raw", ())),
    _raw("raw-uring", "raw io_uring", "raw-uring"),
    _raw("raw-epoll-busy", "raw epoll, spinning", "raw-epoll", "--spin"),
    _raw("raw-uring-busy", "raw io_uring, spinning", "raw-uring", "--spin"),
    _raw("raw-level", "raw epoll, level-triggered", "raw-epoll", "--trigger=level"),
    _raw("raw-threads", "raw, a thread for each connection", "raw-threads"),
    *(Contestant(f"raw-{way}", f"raw, {text}", "raw", {role: ("peers/file-raw", (way,)) for role in FILE_ROLES[way]}) for way, text in
      (("read", "read and write"), ("mmap", "mmap and write"), ("splice", "splice"))),
    *_peer("libevent", "libevent", "libevent-dev"),
    *_peer("libuv", "libuv", "libuv1-dev"),
    *_peer("asio", "Asio", "libasio-dev and g++"),
    Contestant("nginx", "nginx", "server", {"http": ("nginx", ())}, package="nginx-light"),
    Contestant("redis-server", "redis-server", "server", {"redis": ("redis-server", ())}, package="redis-server"),
)

# Of each contestant that charts show as a line or points: a colour and a form of the points (gnuplot's numbers). The colours
# can be told apart with each form of colour blindness (Okabe and Ito 2008).
LOOKS = {"reactor": ("#0072B2", 7), "io_uring": ("#D55E00", 5), "simulated": ("#009E73", 9), "raw-epoll": ("#555555", 6),
         "raw-uring": ("#999999", 4), "libevent": ("#CC79A7", 11), "libuv": ("#E69F00", 13), "asio": ("#56B4E9", 15)}

CONTESTANTS = {contestant.name: contestant for contestant in _ALL}
AGAIN = ":again"   # the same contestant a second time: what differs between the two is this machine's noise


def contestant_of(side):
    return CONTESTANTS[side.removesuffix(AGAIN)]


def label_of(side):
    """The name of a side for people. Results of another version may name a contestant that this one does not know."""
    name = side.removesuffix(AGAIN)
    return (CONTESTANTS[name].label if name in CONTESTANTS else name) + (" again" if side.endswith(AGAIN) else "")


def kind_of(side):
    name = side.removesuffix(AGAIN)
    return CONTESTANTS[name].kind if name in CONTESTANTS else "other"
