"""Emulates slow and lossy links between network namespaces, packet by packet, where the kernel has no netem.

Each link is a pair of TUN devices, one in each namespace. This program takes the IP packets that one end sends, drops some of them at random,
holds the others back by the delay, behind each other where a rate is given, and hands them to the other end. It needs root and Python 3 alone.

    lossyLink.py --delay 20 --loss 0.01 --seed 1 --link hub,pf1,10.213.1.1 h1,eth0,10.213.1.2

prints "ready" once the links are up, and ends when its standard input does. A line "LOSS DELAY RATE" on standard input changes the links.
"""

import argparse
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
# Packets that wait in the kernel for this program, so that a burst is not dropped where no loss is asked for.
QUEUE = "10000"


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def open_end(end, number):
    """Makes a TUN device in a namespace. Returns its file."""
    namespace, device, address = end.split(",")
    made = f"pf{os.getpid() % 100000}x{number}"
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", made.encode(), IFF_TUN | IFF_NO_PI))
    ip("link", "set", made, "netns", namespace, "name", device, "txqueuelen", QUEUE)
    ip("-n", namespace, "address", "add", f"{address}/30", "dev", device)
    ip("-n", namespace, "link", "set", device, "up")
    return file


class Direction:
    """Packets on their way from one end to the other."""

    def __init__(self, source, target, seed):
        self.source, self.target = source, target
        self.random = random.Random(seed)
        self.waiting = deque()
        self.free_at = 0.0

    def take(self, now, link):
        while True:
            try:
                packet = os.read(self.source, 65536)
            except (BlockingIOError, OSError):
                return
            if self.random.random() < link["loss"]:
                continue
            leaves = now
            if link["rate"] > 0:
                leaves = self.free_at = max(now, self.free_at) + len(packet) * 8 / (link["rate"] * 1e6)
            self.waiting.append((leaves + link["delay"] / 1000, packet))

    def give(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            packet = self.waiting.popleft()[1]
            try:
                os.write(self.target, packet)
            except OSError:
                # The device is down: a cut link.
                pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0, help="milliseconds one way")
    parser.add_argument("--loss", type=float, default=0, help="share of packets that is dropped")
    parser.add_argument("--rate", type=float, default=0, help="Mbit/s of each direction; 0 for no limit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--link", nargs=2, action="append", required=True, metavar="NAMESPACE,DEVICE,ADDRESS")
    args = parser.parse_args()
    link = {"delay": args.delay, "loss": args.loss, "rate": args.rate}
    directions = []
    for number, ends in enumerate(args.link):
        first, second = (open_end(end, 2 * number + i) for i, end in enumerate(ends))
        directions.append(Direction(first, second, args.seed + 2 * number))
        directions.append(Direction(second, first, args.seed + 2 * number + 1))
    by_source = {direction.source: direction for direction in directions}
    try:
        # A delay is right only if this program runs when a packet is due, however busy the machine is.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    except OSError:
        pass
    print("ready", flush=True)
    control = sys.stdin.fileno()
    while True:
        soonest = min((direction.waiting[0][0] for direction in directions if direction.waiting), default=None)
        timeout = None if soonest is None else max(0, soonest - time.monotonic())
        ready = select.select([control, *by_source], [], [], timeout)[0]
        now = time.monotonic()
        for file in ready:
            if file == control:
                line = os.read(control, 1000).decode().strip()
                if not line:
                    return
                link["loss"], link["delay"], link["rate"] = (float(word) for word in line.splitlines()[-1].split())
                print("changed", flush=True)
            else:
                by_source[file].take(now, link)
        for direction in directions:
            direction.give(time.monotonic())


main()
