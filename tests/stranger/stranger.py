"""A framework of somebody else, on the same Mesos as the service under test.

It is built on pymesos and shares no code with the project. In each round it takes every
offer that it is given, holds them all for some seconds, then starts one short task and
gives back the rest. It ends with success when each round's task has finished.

Its tasks are run by an executor that is this same program, on pymesos too.

Standard output has one line for each thing that happened, for the test to read:
`subscribed ID`, `holds N`, `released N`, `finished TASK`, `served`.
"""

import argparse
import os
import sys
import threading
import time

from pymesos import Executor, MesosExecutorDriver, MesosSchedulerDriver, Scheduler

# What a task takes beside its executor, and the executor alone. Mesos: at least
# 0.01 cpus and 32 MB.
CPUS = 0.1
MEM_MB = 32
# A declined offer comes back after this time; Mesos' own default is five seconds.
REFUSE_SECONDS = 0.5
# How long anything may take: offers may lie with other frameworks for a while.
PATIENCE_SECONDS = 120
TERMINAL = {
    "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR",
    "TASK_DROPPED", "TASK_GONE", "TASK_UNREACHABLE",
}


def say(*words):
    print(*words, flush=True)


class Stranger(Scheduler):
    """Keeps the offers that are held, and the tasks' ends. pymesos calls it from a
    thread of its own."""

    def __init__(self):
        self.changed = threading.Condition()
        self.offers = {}
        self.ended = {}
        self.problem = None

    def registered(self, driver, framework_id, master_info):
        say("subscribed", framework_id["value"])

    def resourceOffers(self, driver, offers):
        with self.changed:
            self.offers.update((offer["id"]["value"], offer) for offer in offers)
            self.changed.notify_all()

    def offerRescinded(self, driver, offer_id):
        with self.changed:
            self.offers.pop(offer_id["value"], None)

    def statusUpdate(self, driver, status):
        if status["state"] in TERMINAL:
            with self.changed:
                why = status.get("message", "")
                self.ended[status["task_id"]["value"]] = (status["state"], why)
                self.changed.notify_all()

    def error(self, driver, message):
        with self.changed:
            self.problem = message
            self.changed.notify_all()

    def wait_for(self, what, condition):
        """Waits until the condition gives something, and gives that."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self.changed:
            while True:
                found = condition()
                if found:
                    return found
                if self.problem:
                    sys.exit(f"the master refuses the stranger: {self.problem}")
                left = deadline - time.monotonic()
                if left <= 0:
                    sys.exit(f"not within {PATIENCE_SECONDS} s: {what}")
                self.changed.wait(left)

    def take_all(self):
        with self.changed:
            offers, self.offers = self.offers, {}
        return list(offers.values())


def unreserved(offer, name):
    """How much of a resource the offer has that nobody has reserved: what is reserved
    for a role that we share belongs to others."""
    return sum(
        resource["scalar"]["value"]
        for resource in offer["resources"]
        if resource["name"] == name
        and resource.get("role", "*") == "*"
        and not resource.get("reservations")
        and "disk" not in resource
    )


def has_room(offer):
    return unreserved(offer, "cpus") >= 2 * CPUS and unreserved(offer, "mem") >= 2 * MEM_MB


def task_on(offer, name):
    def resources():
        return [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": CPUS}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": MEM_MB}},
        ]

    program = os.path.abspath(__file__)
    return {
        "name": name,
        "task_id": {"value": name},
        "agent_id": offer["agent_id"],
        "resources": resources(),
        "executor": {
            "type": "CUSTOM",
            "executor_id": {"value": name},
            "framework_id": offer["framework_id"],
            "command": {"value": f"exec '{sys.executable}' '{program}' executor"},
            "resources": resources(),
        },
    }


def hold_offers(stranger, hold_seconds):
    """Gives all offers after they were held, the one for the task first."""
    while True:
        stranger.wait_for(
            "an offer with room for a task",
            lambda: any(has_room(offer) for offer in stranger.offers.values()),
        )
        # All that comes meanwhile is held as well; what is rescinded is lost.
        time.sleep(hold_seconds)
        offers = sorted(stranger.take_all(), key=has_room, reverse=True)
        if offers and has_room(offers[0]):
            return offers


def one_round(driver, stranger, number, hold_seconds):
    offers = hold_offers(stranger, hold_seconds)
    say("holds", len(offers))
    name = f"stranger-{number}"
    chosen, rest = offers[0], offers[1:]
    filters = {"refuse_seconds": REFUSE_SECONDS}
    driver.launchTasks([chosen["id"]], [task_on(chosen, name)], filters=filters)
    if rest:
        driver.declineOffer([offer["id"] for offer in rest], filters=filters)
    say("released", len(offers))
    state, why = stranger.wait_for(f"{name} ends", lambda: stranger.ended.get(name))
    if state != "TASK_FINISHED":
        sys.exit(f"{name}: {state} {why}")
    say("finished", name)


def be_a_framework(arguments):
    stranger = Stranger()
    framework = {
        "user": "root",
        "name": arguments.name,
        "roles": [arguments.role],
        "capabilities": [{"type": "MULTI_ROLE"}],
    }
    driver = MesosSchedulerDriver(stranger, framework, arguments.master)
    driver.start()
    for number in range(arguments.rounds):
        one_round(driver, stranger, number, arguments.hold_seconds)
    say("served")
    driver.stop()
    driver.join()


class OneTask(Executor):
    """Runs one task, which does nothing, and ends."""

    def launchTask(self, driver, task):
        for state in ("TASK_RUNNING", "TASK_FINISHED"):
            driver.sendStatusUpdate({"task_id": task["task_id"], "state": state})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("executor")
    framework = kinds.add_parser("framework")
    framework.add_argument("--master", required=True, help="host:port")
    framework.add_argument("--name", default="stranger")
    framework.add_argument("--role", default="stranger")
    framework.add_argument("--rounds", type=int, default=3)
    framework.add_argument("--hold-seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    if arguments.kind == "executor":
        MesosExecutorDriver(OneTask()).run()
    else:
        be_a_framework(arguments)


if __name__ == "__main__":
    main()
