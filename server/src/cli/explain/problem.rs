//! The names that our own errors and warnings carry, `error[port-in-use]`, and what is behind them.
//!
//! A name never changes its meaning; each one that can be printed is here (tested where they are made).

use super::Problem;

/// By name.
pub(crate) const PROBLEMS: &[Problem] = &[
    Problem(
        "advertised-elsewhere",
        "Clients are told to connect to an address that this machine does not have. Behind NAT or in a container that may be right; otherwise they reach somebody else, or nobody.",
        "Name an address of this machine, or the outer one of the container: `--advertise HOST`. `ringmq check` tries it.",
    ),
    Problem(
        "advertised-loopback",
        "The node listens for others, but tells them to connect to their own machine.",
        "`--advertise HOST`, with the address that others reach.",
    ),
    Problem(
        "advertised-unknown",
        "Clients are told a name that this machine cannot resolve.",
        "Give an address, or a name that clients resolve: `--advertise HOST`.",
    ),
    Problem(
        "async-flush",
        "Sends are answered before they are on disk: a power failure loses answered messages.",
        "`--set log.flush=sync`, which is the default.",
    ),
    Problem(
        "buffered",
        "The data folder's file system has no O_DIRECT, so writes go through the page cache. They are as durable, and slower.",
        "Put the folder on ext4 or xfs on a local disk: `--data DIR`.",
    ),
    Problem(
        "cannot-listen",
        "An address could not be listened on: it is not one of this machine, or its port needs a privilege.",
        "Check `--host` and `--port`; ports below 1024 need CAP_NET_BIND_SERVICE.",
    ),
    Problem(
        "disk-full",
        "The disk of the data folder has no room for the log's files.",
        "Free some space, or use another folder: `--data DIR`. Nothing is deleted to make room.",
    ),
    Problem(
        "exists",
        "What was to be created is there already. Nothing was changed.",
        "`ringmq topic describe` shows it, `ringmq topic alter` changes it.",
    ),
    Problem(
        "folder-locked",
        "Another ringmq has the data folder.",
        "Stop it, or give this one a folder of its own: `--data DIR`.",
    ),
    Problem(
        "folder-unusable",
        "The data folder cannot be created, opened or written.",
        "Check its owner and permissions, or use another: `--data DIR`.",
    ),
    Problem(
        "insecure",
        "The node listens beyond this machine without authentication and TLS: everybody who reaches its ports may send, consume and administer.",
        "Keep the ports inside a trusted network, or listen on 127.0.0.1.",
    ),
    Problem(
        "io-uring-refused",
        "The kernel refuses io_uring: a sysctl disables it, or the seccomp profile of a container.",
        "`sysctl -w kernel.io_uring_disabled=0`; in a container `--security-opt seccomp=unconfined`, or a profile that allows io_uring_setup, io_uring_enter and io_uring_register.",
    ),
    Problem(
        "kernel-too-old",
        "ringmq needs Linux 6.1 or newer.",
        "Run it on a newer kernel, or in a virtual machine with one.",
    ),
    Problem(
        "log-damaged",
        "Bytes of the log that were acknowledged are damaged. Nothing was changed, and nothing is served.",
        "Keep a copy of the folder. `ringmq log verify DIR` lists what is damaged; `ringmq log repair` makes a copy with everything else.",
    ),
    Problem(
        "malformed",
        "What came back is no answer of RocketMQ's protocol.",
        "Check the port: name servers listen on 9876, brokers on 10911. A proxy of RocketMQ 5 (8080, 8081) speaks another protocol.",
    ),
    Problem(
        "memlock-too-small",
        "Rings and buffers do not fit into the limit of locked memory.",
        "`ulimit -l unlimited`, `LimitMEMLOCK=infinity` in the systemd unit, or `--ulimit memlock=-1` for a container.",
    ),
    Problem(
        "not-durable",
        "The broker has the message, but could not promise that it outlives a crash: its flush took too long, or a replica did not answer.",
        "Treat it as unknown and send again with the same key. RingMQ never answers so.",
    ),
    Problem(
        "not-found",
        "What was asked for is not there.",
        "Check its name and the time range; retention may have removed it.",
    ),
    Problem(
        "port-in-use",
        "Another process listens on a port that this node needs.",
        "Stop it, `ss -ltnp` names it, or choose another `--port` or `--namesrv-port`.",
    ),
    Problem(
        "profile",
        "A profile, or a flag that takes its place, cannot be used. The message names it.",
        "`ringmq profile list` shows what there is, `ringmq profile init` prints a file to begin with.",
    ),
    Problem(
        "refused",
        "The server understood and refused; the message has its response code.",
        "`ringmq explain CODE` says what the code means.",
    ),
    Problem("runtime", "Threads or executors could not be made.", "`ringmq check` looks for the cause."),
    Problem(
        "settings",
        "A flag, a variable or a line of the file cannot be used. The message names it.",
        "`ringmq config init` prints every setting with its meaning, `ringmq config show` what is in force.",
    ),
    Problem(
        "shard-stopped",
        "A shard's log failed while it served. Senders without an answer do not know whether their message is stored.",
        "Look at the disk, then start again: recovery decides.",
    ),
    Problem(
        "unknown-group",
        "No broker knows that group of consumers.",
        "`ringmq group list` shows what there is. A group is made by its first consumer, or by `ringmq group create`.",
    ),
    Problem(
        "unknown-topic",
        "No name server knows that topic.",
        "`ringmq topic list` shows what there is, `ringmq topic create` makes one. Brokers that were just started register within 30 s.",
    ),
    Problem(
        "unreachable",
        "Nobody answered at that address, or not in time.",
        "Start a server there with `ringmq serve`, name another with `--namesrv HOST:9876`, or wait longer with `--timeout`. If only brokers cannot be reached, they advertise an address that leads elsewhere: `ringmq check` on their machine.",
    ),
    Problem(
        "usage",
        "The command was asked for something that makes no sense. Nothing was tried.",
        "`--help` of the command says what is possible, with examples.",
    ),
];
