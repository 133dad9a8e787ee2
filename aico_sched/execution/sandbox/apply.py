"""Puts a sandbox in force in the process that calls, in the order in which each step is still possible."""

import os
import signal

from aico_sched.execution.sandbox import identity, landlock, libc, resources, system_calls
from aico_sched.execution.sandbox.policy import Level, Limits, Policy

_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process when `parent`'s does; ends it now if that is gone already."""
    if libc.available:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def restrict(limits: Limits, policy: Policy | None) -> Level:
    """Hold this process, which has one thread, to `limits` and to `policy`, for good. Returns what is in force.

    What the kernel does not offer is named in the level. Raises OSError when a step that is offered fails: then
    nothing must run.
    """
    if policy is None:
        resources.limit(limits)
        return Level(rlimits=limits != Limits())
    parent = os.getppid()
    missing: list[str] = []
    is_root = os.geteuid() == 0
    guarded = landlock.version() > 0
    separate = is_root and not policy.network and _separate_network(missing)
    # /proc is out of reach later.
    resources.limit_sandbox(policy)
    resources.limit(limits)
    if is_root and policy.uid is not None:
        identity.become(policy.uid, (policy.data_dir, *policy.readable), files_are_guarded=guarded)
        # A change of user takes the signal away.
        die_with_parent(parent)
    if libc.available:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        _guard_files(policy, missing)
        system_calls.restrict(network=policy.network)
    else:
        missing.append("a filter of system calls (only on Linux, x86_64 and aarch64)")
    return Level(
        rlimits=True,
        no_new_privileges=libc.available,
        landlock=landlock.version() if guarded else 0,
        system_call_filter=libc.available,
        network_namespace=separate,
        uid=os.getuid(),
        missing=tuple(missing),
    )


def _separate_network(missing: list[str]) -> bool:
    """A network namespace where root may make one (some containers refuse); the filter of system calls, which lets no
    socket be made, stands behind it."""
    try:
        identity.separate_network()
    except OSError as error:
        missing.append(f"a network namespace ({error.strerror})")
        return False
    return True


def _guard_files(policy: Policy, missing: list[str]) -> None:
    if landlock.version() == 0:
        missing.append("Landlock: files outside its own folder are only guarded by their owners and modes")
        return
    rules = [(path, landlock.READ) for path in policy.readable]
    rules += [(path, landlock.USE_DEVICE) for path in _DEVICES]
    rules.append((policy.data_dir, landlock.CHANGE))
    landlock.restrict(rules, tcp=policy.network)
